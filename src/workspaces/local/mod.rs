//! Workspaces on this machine: each is a folder under the state directory, and the processes started in it.
//!
//! For `portcullis dev`. **It is no sandbox**: commands run as the user who runs Portcullis, with only their
//! environment cleaned, and can read and write whatever that user can. Workspaces and their status survive a
//! restart; processes do not.

mod direct;
mod runtime;
mod store;

use super::{
    CreateWorkspace, Error, Owner, Purpose, Status, Template, Workspace, WorkspaceFilter, WorkspaceLogs, WorkspacePage,
    Workspaces, check_name,
};
use crate::{agent, ambient::Clock, config::WorkspaceRules};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use direct::Direct;
use rand::{Rng as _, rngs::StdRng};
use runtime::{Place, Runtime};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use store::{Record, Store};
use tokio::sync::OwnedMutexGuard;

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
    entries: Entries,
    max_per_user: AtomicU32,
}

/// All workspaces by id. Only ever locked for a moment, never over an await.
#[derive(Clone, Default)]
struct Entries(Arc<Mutex<BTreeMap<String, Arc<Entry>>>>);

impl Entries {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        // The map is never left half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One workspace: what its file says, and what runs in it.
struct Entry {
    id: String,
    owner: Owner,
    name: String,
    record: Mutex<Record>,
    /// Held while the workspace changes, so that changes come one after another. Looking needs only `record`.
    runtime: Arc<tokio::sync::Mutex<Runtime>>,
}

impl LocalWorkspaces {
    /// Opens the state directory, made if it is not there, and reads the workspaces in it.
    pub async fn open(options: LocalOptions, clock: Arc<dyn Clock>, rng: StdRng) -> Result<Self, Error> {
        let (store, records) = Store::open(options.state_dir.join("workspaces")).await?;
        let entries = Entries::default();
        let max_per_user = AtomicU32::new(WorkspaceRules::default().max_per_user);
        entries.lock().extend(records.into_iter().map(|record| (record.id.clone(), Arc::new(Entry::new(record)))));
        Ok(Self { store, options, clock, rng: Mutex::new(rng), entries, max_per_user })
    }

    /// Ends all processes of all workspaces, whose status stays as it is. For the server's shutdown.
    pub async fn shutdown(&self) {
        let entries: Vec<Arc<Entry>> = self.entries.lock().values().cloned().collect();
        let ended = entries.iter().map(|entry| async { entry.runtime.lock().await.end_all().await });
        futures::future::join_all(ended).await;
    }

    /// The owner's workspaces, sorted by name.
    fn owned(&self, owner: &Owner) -> Vec<Arc<Entry>> {
        let mut found: Vec<_> =
            self.entries.lock().values().filter(|entry| entry.owner.id == owner.id).cloned().collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The owner's workspace with this id or name.
    fn find(&self, owner: &Owner, wanted: &str) -> Result<Arc<Entry>, Error> {
        let candidates = self.owned(owner);
        let by_id = candidates.iter().find(|entry| entry.id == wanted);
        let found = by_id.or_else(|| candidates.iter().find(|entry| entry.name == wanted));
        found.cloned().ok_or_else(|| unknown(wanted, &candidates))
    }

    /// Finds the owner's workspace and keeps all other changes away from it, unless it is deleted meanwhile.
    async fn change(&self, owner: &Owner, wanted: &str) -> Result<(Arc<Entry>, OwnedMutexGuard<Runtime>), Error> {
        let entry = self.find(owner, wanted)?;
        let runtime = Arc::clone(&entry.runtime).lock_owned().await;
        if self.entries.lock().contains_key(&entry.id) {
            Ok((entry, runtime))
        } else {
            Err(unknown(wanted, &self.owned(owner)))
        }
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
            problem: None,
            owner: record.owner.name.clone(),
            outdated: false,
            parameters: BTreeMap::new(),
            home: self.store.home(&record.id).to_string_lossy().into_owned(),
            created_at: record.created_at,
            last_activity: None,
            expires_at: None,
        }
    }

    async fn set_status(&self, entry: &Arc<Entry>, status: Status) -> Result<(), Error> {
        let record = entry.record().clone();
        if record.status == status {
            return Ok(());
        }
        let entry = Arc::clone(entry);
        self.store.save(Record { status, ..record }, move |record| *entry.record() = record).await
    }
}

impl Entry {
    fn new(record: Record) -> Self {
        Self {
            id: record.id.clone(),
            owner: record.owner.clone(),
            name: record.name.clone(),
            record: Mutex::new(record),
            runtime: Arc::default(),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // A record is replaced whole.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(wanted: &str, entries: &[Arc<Entry>]) -> Error {
    let existing = entries.iter().map(|entry| entry.name.clone()).collect();
    Error::UnknownWorkspace { wanted: wanted.to_owned(), existing }
}

fn blank() -> Template {
    Template {
        name: BLANK.to_owned(),
        display_name: "Blank".to_owned(),
        description: "An empty folder; commands run with this machine's own tools.".to_owned(),
        parameters: Vec::new(),
    }
}

#[async_trait]
impl Workspaces for LocalWorkspaces {
    fn apply(&self, rules: &WorkspaceRules) {
        self.max_per_user.store(rules.max_per_user, Ordering::Relaxed);
    }

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
            let record = entry.record();
            let matches = filter.query.as_ref().is_none_or(|query| record.name.contains(query.as_str()))
                && filter.status.is_none_or(|status| record.status == status)
                && filter.template.as_ref().is_none_or(|template| record.template == *template)
                && after.as_ref().is_none_or(|after| record.name > *after);
            if !matches {
                continue;
            }
            if workspaces.len() == limit as usize {
                let next_cursor = workspaces.last().map(|last| URL_SAFE_NO_PAD.encode(&last.name));
                return Ok(WorkspacePage { workspaces, next_cursor });
            }
            workspaces.push(self.view(&record));
        }
        Ok(WorkspacePage { workspaces, next_cursor: None })
    }

    async fn get(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace)?;
        Ok(self.view(&entry.record()))
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
        let entry = Arc::new(Entry::new(record.clone()));
        // Whoever finds the workspace waits with changes until its folder is there.
        let _folder_is_coming = entry.runtime.lock().await;
        let mut name = HeldName::of(&self.entries, &entry, self.max_per_user.load(Ordering::Relaxed))?;
        let view = self.view(&record);
        self.store.create(record, move || name.keep()).await?;
        Ok(view)
    }

    async fn start(&self, owner: &Owner, workspace: &str, _at_once: Option<Duration>) -> Result<Workspace, Error> {
        let (entry, _no_other_change) = self.change(owner, workspace).await?;
        self.set_status(&entry, Status::Running).await?;
        Ok(self.view(&entry.record()))
    }

    async fn stop(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let (entry, mut runtime) = self.change(owner, workspace).await?;
        self.set_status(&entry, Status::Stopped).await?;
        runtime.end_all().await;
        Ok(self.view(&entry.record()))
    }

    async fn restart(&self, owner: &Owner, workspace: &str, at_once: Option<Duration>) -> Result<Workspace, Error> {
        self.stop(owner, workspace).await?;
        self.start(owner, workspace, at_once).await
    }

    async fn delete(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let (entry, mut runtime) = self.change(owner, workspace).await?;
        self.set_status(&entry, Status::Stopped).await?;
        runtime.end_all().await;
        let (entries, id) = (self.entries.clone(), entry.id.clone());
        self.store
            .forget(&entry.id, move || {
                entries.lock().remove(&id);
            })
            .await?;
        self.store.free(&entry.id).await?;
        Ok(self.view(&entry.record()))
    }

    async fn logs(&self, owner: &Owner, workspace: &str, _lines: u32) -> Result<WorkspaceLogs, Error> {
        self.find(owner, workspace)?;
        // A folder has no main process, and its commands' output is theirs.
        Ok(WorkspaceLogs { lines: Vec::new(), truncated: false })
    }

    async fn agent(&self, owner: &Owner, workspace: &str, _purpose: Purpose) -> Result<agent::Client, Error> {
        let (entry, _no_other_change) = self.change(owner, workspace).await?;
        if entry.record().status == Status::Stopped {
            return Err(Error::Stopped { workspace: entry.name.clone() });
        }
        let place = Place {
            workspace: entry.name.clone(),
            home: self.store.home(&entry.id),
            tmp: self.store.tmp(&entry.id),
            output: self.store.output(&entry.id),
            options: self.options.clone(),
        };
        Ok(agent::Client::new(Arc::new(Direct { entry, place })))
    }
}

/// Holds a new workspace's name, and gives it back unless the workspace comes to be.
struct HeldName {
    entries: Entries,
    id: Option<String>,
}

impl HeldName {
    fn of(entries: &Entries, entry: &Arc<Entry>, limit: u32) -> Result<Self, Error> {
        let mut all = entries.lock();
        let owned: Vec<_> = all.values().filter(|other| other.owner.id == entry.owner.id).collect();
        if owned.iter().any(|other| other.name == entry.name) {
            return Err(Error::NameTaken { name: entry.name.clone() });
        }
        let count = u32::try_from(owned.len()).unwrap_or(u32::MAX);
        if count >= limit {
            return Err(Error::QuotaExceeded { count, limit });
        }
        all.insert(entry.id.clone(), Arc::clone(entry));
        Ok(Self { entries: entries.clone(), id: Some(entry.id.clone()) })
    }

    fn keep(&mut self) {
        self.id = None;
    }
}

impl Drop for HeldName {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.entries.lock().remove(&id);
        }
    }
}

fn decode_cursor(cursor: &str) -> Result<String, Error> {
    URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        let problem = "pass the next_cursor of the page before, unchanged, or leave it out".to_owned();
        Error::InvalidArgument { argument: "cursor", problem }
    })
}
