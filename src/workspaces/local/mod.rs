//! Workspaces on this machine: each is a folder under the state directory, and the processes started in it.
//!
//! For `portcullis dev`. **It is no sandbox**: commands run as the user who runs Portcullis, with only their
//! environment cleaned, and can read and write whatever that user can. Workspaces and their status survive a
//! restart; processes do not.

mod runtime;
mod store;

use super::{
    CommandResult, CreateWorkspace, Error, LiveOutput, Owner, RunCommand, Status, Template, Workspace, WorkspaceFilter,
    WorkspacePage, Workspaces, check_name,
};
use crate::ambient::Clock;
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{Rng as _, rngs::StdRng};
use runtime::Runtime;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use store::{Record, Store};

/// The only template.
const BLANK: &str = "blank";

/// What the backend takes from the machine.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// The state directory; workspaces are kept in its folder `workspaces`.
    pub state_dir: PathBuf,
    /// The `PATH` of commands.
    pub path: OsString,
    /// The `USER` of commands.
    pub user: OsString,
}

/// The backend.
pub struct LocalWorkspaces {
    store: Store,
    options: LocalOptions,
    clock: Arc<dyn Clock>,
    rng: Mutex<StdRng>,
    /// By id. Only ever locked for a moment, never over an await.
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
}

/// One workspace: what its file says, and what runs in it.
struct Entry {
    id: String,
    owner: Owner,
    name: String,
    /// Held while the workspace changes, so that changes come one after another.
    state: tokio::sync::Mutex<State>,
}

struct State {
    record: Record,
    /// Whether the folder is gone: whoever waited for the lock comes too late.
    deleted: bool,
    runtime: Runtime,
}

impl LocalWorkspaces {
    /// Opens the state directory, made if it is not there, and reads the workspaces in it.
    pub async fn open(options: LocalOptions, clock: Arc<dyn Clock>, rng: StdRng) -> Result<Self, Error> {
        let (store, records) = Store::open(options.state_dir.join("workspaces")).await?;
        let entries = records.into_iter().map(|record| (record.id.clone(), Arc::new(Entry::new(record)))).collect();
        Ok(Self { store, options, clock, rng: Mutex::new(rng), entries: Mutex::new(entries) })
    }

    /// Ends all processes of all workspaces, whose status stays as it is. For the server's shutdown.
    pub async fn shutdown(&self) {
        let entries: Vec<Arc<Entry>> = self.entries().values().cloned().collect();
        let ended = entries.iter().map(|entry| async { entry.state.lock().await.runtime.end_all().await });
        futures::future::join_all(ended).await;
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        // The map is never left half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner's workspaces, sorted by name.
    fn owned(&self, owner: &Owner) -> Vec<Arc<Entry>> {
        let mut owned: Vec<_> = self.entries().values().filter(|entry| entry.owner == *owner).cloned().collect();
        owned.sort_by(|a, b| a.name.cmp(&b.name));
        owned
    }

    /// The owner's workspace with this id or name.
    fn find(&self, owner: &Owner, wanted: &str) -> Result<Arc<Entry>, Error> {
        let owned = self.owned(owner);
        let by_id = owned.iter().find(|entry| entry.id == wanted);
        match by_id.or_else(|| owned.iter().find(|entry| entry.name == wanted)) {
            Some(entry) => Ok(Arc::clone(entry)),
            None => Err(Error::UnknownWorkspace {
                wanted: wanted.to_owned(),
                existing: owned.iter().map(|entry| entry.name.clone()).collect(),
            }),
        }
    }

    /// Locks the workspace unless it was deleted meanwhile.
    async fn lock<'a>(
        &self,
        owner: &Owner,
        wanted: &str,
        entry: &'a Entry,
    ) -> Result<tokio::sync::MutexGuard<'a, State>, Error> {
        let state = entry.state.lock().await;
        if state.deleted {
            let existing = self.owned(owner).iter().map(|entry| entry.name.clone()).collect();
            return Err(Error::UnknownWorkspace { wanted: wanted.to_owned(), existing });
        }
        Ok(state)
    }

    /// Sixteen hexadecimal digits, never used before.
    fn unique(&self) -> String {
        let mut bytes = [0_u8; 8];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        crate::config::hex(&bytes)
    }

    fn view(&self, record: &Record) -> Workspace {
        Workspace {
            id: record.id.clone(),
            name: record.name.clone(),
            template: record.template.clone(),
            status: record.status,
            parameters: BTreeMap::new(),
            home: self.store.home(&record.id).to_string_lossy().into_owned(),
            created_at: record.created_at,
        }
    }

    async fn set_status(&self, state: &mut State, status: Status) -> Result<(), Error> {
        if state.record.status != status {
            let record = Record { status, ..state.record.clone() };
            self.store.save(&record).await?;
            state.record = record;
        }
        Ok(())
    }
}

impl Entry {
    fn new(record: Record) -> Self {
        Self {
            id: record.id.clone(),
            owner: record.owner.clone(),
            name: record.name.clone(),
            state: tokio::sync::Mutex::new(State { record, deleted: false, runtime: Runtime::default() }),
        }
    }
}

fn blank() -> Template {
    Template {
        name: BLANK.to_owned(),
        description: "An empty folder; commands run with this machine's own tools.".to_owned(),
        parameters: Vec::new(),
    }
}

#[async_trait]
impl Workspaces for LocalWorkspaces {
    async fn templates(&self, _owner: &Owner) -> Result<Vec<Template>, Error> {
        Ok(vec![blank()])
    }

    async fn list(&self, owner: &Owner, filter: WorkspaceFilter) -> Result<WorkspacePage, Error> {
        let after = filter.cursor.as_deref().map(decode_cursor).transpose()?;
        let limit = filter.limit.unwrap_or(WorkspaceFilter::DEFAULT_LIMIT);
        if !(1..=WorkspaceFilter::MAX_LIMIT).contains(&limit) {
            let problem = format!("{limit} is out of range; give 1 to {}", WorkspaceFilter::MAX_LIMIT);
            return Err(Error::InvalidArgument { argument: "limit", problem });
        }
        let mut workspaces: Vec<Workspace> = Vec::new();
        for entry in self.owned(owner) {
            let named = filter.query.as_ref().is_none_or(|query| entry.name.contains(query.as_str()));
            if !named || after.as_ref().is_some_and(|after| entry.name <= *after) {
                continue;
            }
            let state = entry.state.lock().await;
            let matches = !state.deleted
                && filter.status.is_none_or(|status| state.record.status == status)
                && filter.template.as_ref().is_none_or(|template| state.record.template == *template);
            if !matches {
                continue;
            }
            if workspaces.len() == limit as usize {
                let next_cursor = workspaces.last().map(|last| URL_SAFE_NO_PAD.encode(&last.name));
                return Ok(WorkspacePage { workspaces, next_cursor });
            }
            workspaces.push(self.view(&state.record));
        }
        Ok(WorkspacePage { workspaces, next_cursor: None })
    }

    async fn get(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace)?;
        let state = self.lock(owner, workspace, &entry).await?;
        Ok(self.view(&state.record))
    }

    async fn create(&self, owner: &Owner, request: CreateWorkspace) -> Result<Workspace, Error> {
        let template = blank();
        if request.template != template.name {
            return Err(Error::UnknownTemplate { wanted: request.template, existing: vec![template.name] });
        }
        if let Some(parameter) = request.parameters.into_keys().next() {
            return Err(Error::UnknownParameter { template: template.name, parameter, existing: Vec::new() });
        }
        check_name(&request.name)?;
        let record = Record {
            id: format!("ws-{}", self.unique()),
            name: request.name,
            owner: owner.clone(),
            template: template.name,
            status: Status::Running,
            created_at: self.clock.now(),
        };
        let view = self.view(&record);
        let entry = Arc::new(Entry::new(record.clone()));
        // The name is taken from here on; whoever finds the workspace waits until its folder is there.
        let mut state = entry.state.lock().await;
        {
            let mut entries = self.entries();
            if entries.values().any(|other| other.owner == *owner && other.name == record.name) {
                return Err(Error::NameTaken { name: record.name });
            }
            entries.insert(record.id.clone(), Arc::clone(&entry));
        }
        let mut reservation = Reservation { backend: self, id: Some(&record.id) };
        state.deleted = true;
        self.store.create(&record).await?;
        state.deleted = false;
        reservation.id = None;
        Ok(view)
    }

    async fn start(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace)?;
        let mut state = self.lock(owner, workspace, &entry).await?;
        self.set_status(&mut state, Status::Running).await?;
        Ok(self.view(&state.record))
    }

    async fn stop(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace)?;
        let mut state = self.lock(owner, workspace, &entry).await?;
        self.set_status(&mut state, Status::Stopped).await?;
        state.runtime.end_all().await;
        Ok(self.view(&state.record))
    }

    async fn delete(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace)?;
        let mut state = self.lock(owner, workspace, &entry).await?;
        state.runtime.end_all().await;
        self.store.forget(&entry.id).await?;
        state.deleted = true;
        self.entries().remove(&entry.id);
        self.store.sweep().await?;
        Ok(Workspace { status: Status::Stopped, ..self.view(&state.record) })
    }

    async fn run_command(
        &self,
        owner: &Owner,
        request: RunCommand,
        live: Option<LiveOutput>,
    ) -> Result<CommandResult, Error> {
        let entry = self.find(owner, &request.workspace)?;
        let command = {
            let mut state = self.lock(owner, &request.workspace, &entry).await?;
            if state.record.status == Status::Stopped {
                return Err(Error::Stopped { workspace: entry.name.clone() });
            }
            let place = runtime::Place {
                workspace: &entry.name,
                home: self.store.home(&entry.id),
                tmp: self.store.tmp(&entry.id),
                output: self.store.output(&entry.id),
                output_name: self.unique(),
                options: &self.options,
            };
            state.runtime.start(&place, request, live).await?
        };
        // The lock is free again: other commands run beside this one, and a stop reaches it.
        command.result().await
    }
}

/// Gives a name back if its workspace could not be made, or if nobody waited for it.
struct Reservation<'a> {
    backend: &'a LocalWorkspaces,
    id: Option<&'a str>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.backend.entries().remove(id);
        }
    }
}

fn decode_cursor(cursor: &str) -> Result<String, Error> {
    URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        let problem = "pass the next_cursor of the page before, unchanged, or leave it out".to_owned();
        Error::InvalidArgument { argument: "cursor", problem }
    })
}
