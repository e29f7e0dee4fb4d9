//! Workspaces on this machine: each is a folder under the state directory, and the processes started in it.
//!
//! For `portcullis dev`. **This is not a sandbox**: commands run as the user who runs Portcullis, with only their
//! environment cleaned, and can read and write everything that this user can. Workspaces and their status survive a
//! restart; processes do not.

mod held_name;
mod leftovers;
mod log;
mod running;
mod store;
mod template_catalog;

use crate::{
    CreateWorkspace, Error, Owner, Purpose, Status, Template, Workspace, WorkspaceFilter, WorkspaceLogs, WorkspacePage,
    Workspaces, check_name, everyone, paging::Pager,
};
use async_trait::async_trait;
use held_name::HeldName;
use k8s_openapi::api::core::v1::Secret;
use leftovers::{LeftoverProcess, Leftovers};
use log::Log;
use portcullis_agent::Journal;
use portcullis_api::WorkspaceTemplate;
use portcullis_config::WorkspaceRules;
use portcullis_core::clock::Clock;
use rand::{Rng as _, rngs::StdRng};
use running::Running;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use store::{Record, Store};
use template_catalog::{TemplateCatalog, Variables};
use tokio::sync::OwnedMutexGuard;

/// The minimum interval between two writes of a workspace's last activity.
const ACTIVITY_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);

/// The options of the backend.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// The state directory. Workspaces are stored in its folder `workspaces`.
    pub state_dir: PathBuf,
    /// The `PATH` of commands.
    pub path: OsString,
    /// The `USER` of commands.
    pub user: OsString,
}

/// The backend that runs workspaces on this machine.
pub struct LocalWorkspaces {
    store: Store,
    options: LocalOptions,
    clock: Arc<dyn Clock>,
    rng: Mutex<StdRng>,
    entries: WorkspaceMap,
    catalog: Mutex<Arc<TemplateCatalog>>,
    max_per_user: AtomicU32,
    /// Whether this process adopts orphans.
    adopts: AtomicBool,
}

/// All workspaces by id. The lock is held only briefly, never across an await.
#[derive(Clone, Default)]
struct WorkspaceMap(Arc<Mutex<BTreeMap<String, Arc<LocalWorkspace>>>>);

impl WorkspaceMap {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<LocalWorkspace>>> {
        // A panic never leaves the map half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One workspace: its record, and its workspace agent.
struct LocalWorkspace {
    id: String,
    owner: Owner,
    name: String,
    record: Mutex<Record>,
    /// The environment variables that the running workspace agent has from the template.
    applied: Mutex<Option<Variables>>,
    log: Log,
    /// The workspace agent, after its first use. The lock is held while the workspace changes, so changes are
    /// serialized. Reads lock only `record`.
    running: Arc<tokio::sync::Mutex<Option<Running>>>,
}

impl LocalWorkspaces {
    /// Opens the state directory, creates it if necessary, and reads the workspaces in it.
    pub async fn open(options: LocalOptions, clock: Arc<dyn Clock>, rng: StdRng) -> Result<Self, Error> {
        let (store, records) = Store::open(options.state_dir.join("workspaces")).await?;
        let entries = WorkspaceMap::default();
        let max_per_user = AtomicU32::new(WorkspaceRules::default().max_per_user);
        let entry = |record: Record| (record.id.clone(), Arc::new(LocalWorkspace::new(record, Arc::clone(&clock))));
        entries.lock().extend(records.into_iter().map(entry));
        let catalog = Mutex::default();
        let adopts = AtomicBool::new(false);
        Ok(Self { store, options, clock, rng: Mutex::new(rng), entries, catalog, max_per_user, adopts })
    }

    /// Sets the templates for new workspaces, and the Secrets for their environment.
    pub fn set_templates(&self, templates: &[WorkspaceTemplate], secrets: &[Secret]) {
        *self.catalog.lock().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(TemplateCatalog::new(templates, secrets));
    }

    fn catalog(&self) -> Arc<TemplateCatalog> {
        // The catalog is only replaced as a whole.
        Arc::clone(&self.catalog.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes this process responsible for everything that agents start: ends the processes that an earlier server left,
    /// and adopts all orphans from now on, so that they are found at the end in any case. Only for a process that
    /// starts nothing else. Returns the names of the programs that were ended.
    pub async fn take_charge(&self) -> std::io::Result<Vec<String>> {
        let ended = self.leftovers().end().await;
        leftovers::adopt_orphans()?;
        self.adopts.store(true, Ordering::Relaxed);
        Ok(names(ended))
    }

    /// Reaps orphans that have ended; never returns.
    pub async fn reap(&self) {
        leftovers::reap().await;
    }

    /// The names of the running programs that agents started.
    pub async fn programs(&self) -> Vec<String> {
        names(self.leftovers().found().await)
    }

    /// Marks a command as the user's own, so that it is not ended with the workspaces.
    pub fn exempt(command: &mut tokio::process::Command) {
        command.env(leftovers::OWN, "1");
    }

    /// Ends all processes of all workspaces without a change of their status. For the shutdown of the server.
    pub async fn shutdown(&self) {
        let entries: Vec<Arc<LocalWorkspace>> = self.entries.lock().values().cloned().collect();
        let ended = entries.iter().map(|entry| async { entry.end(&mut *entry.running.lock().await).await });
        futures::future::join_all(ended).await;
        self.leftovers().end().await;
    }

    fn leftovers(&self) -> Leftovers {
        Leftovers::below(self.store.root(), self.adopts.load(Ordering::Relaxed))
    }

    /// The owner's workspaces, sorted by name.
    fn owned(&self, owner: &Owner) -> Vec<Arc<LocalWorkspace>> {
        let mut found: Vec<_> =
            self.entries.lock().values().filter(|entry| entry.owner.id == owner.id).cloned().collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The owner's workspace with this id or name.
    fn find(&self, owner: &Owner, wanted: &str) -> Result<Arc<LocalWorkspace>, Error> {
        let candidates = self.owned(owner);
        let by_id = candidates.iter().find(|entry| entry.id == wanted);
        let found = by_id.or_else(|| candidates.iter().find(|entry| entry.name == wanted));
        found.cloned().ok_or_else(|| unknown(wanted, &candidates))
    }

    /// Finds the owner's workspace and locks it for changes. Fails if it was deleted meanwhile.
    async fn change(
        &self,
        owner: &Owner,
        wanted: &str,
    ) -> Result<(Arc<LocalWorkspace>, OwnedMutexGuard<Option<Running>>), Error> {
        let entry = self.find(owner, wanted)?;
        let running = Arc::clone(&entry.running).lock_owned().await;
        if self.entries.lock().contains_key(&entry.id) {
            Ok((entry, running))
        } else {
            Err(unknown(wanted, &self.owned(owner)))
        }
    }

    /// A unique id of sixteen random hexadecimal digits.
    fn unique(&self) -> String {
        let mut bytes = [0_u8; 8];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        portcullis_core::hex(&bytes)
    }

    fn view(&self, entry: &LocalWorkspace) -> Workspace {
        let record = entry.record();
        let differs = |applied: Variables| {
            self.catalog().variables(&record.template, &record.parameters).is_ok_and(|now| now != applied)
        };
        Workspace {
            id: record.id.clone(),
            name: record.name.clone(),
            template: record.template.clone(),
            status: record.status,
            problem: None,
            owner: record.owner.name.clone(),
            owner_id: record.owner.id.clone(),
            outdated: entry.applied().clone().is_some_and(differs),
            parameters: record.parameters.clone(),
            home: self.store.home(&record.id).to_string_lossy().into_owned(),
            created_at: record.created_at,
            last_activity: record.last_activity,
            expires_at: None,
        }
    }

    /// Applies `change` to the record, and writes the record if it differs.
    async fn save(&self, entry: &Arc<LocalWorkspace>, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let before = entry.record().clone();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let entry = Arc::clone(entry);
        self.store.save(after, move |record| *entry.record() = record).await
    }

    /// The client of the workspace agent, which is started if necessary. For a workspace that should run.
    async fn agent_of(
        &self,
        entry: &LocalWorkspace,
        running: &mut Option<Running>,
    ) -> Result<portcullis_agent::Client, Error> {
        if running.as_ref().is_some_and(Running::is_ending) {
            // An earlier call of `end` was dropped before it finished.
            entry.end(running).await;
        }
        if let Some(running) = running {
            return Ok(running.client());
        }
        let record = entry.record().clone();
        let variables = self.catalog().variables(&record.template, &record.parameters)?;
        let folders = running::WorkspaceFolders {
            home: self.store.home(&record.id),
            tmp: self.store.tmp(&record.id),
            output: self.store.output(&record.id),
        };
        let (file, clock) = (self.store.journal(&record.id), Arc::clone(&self.clock));
        let journal = tokio::task::spawn_blocking(move || Journal::open(file, clock)).await;
        let journal = journal.map_err(|error| Error::io("read the workspace's journal")(error.into()))?;
        let clock = Arc::clone(&self.clock);
        let started = Running::start(folders, &variables, &self.options, entry.log.clone(), journal, clock);
        *entry.applied() = Some(variables);
        Ok(running.insert(started).client())
    }
}

impl Drop for LocalWorkspaces {
    /// The last resort if [`LocalWorkspaces::shutdown`] was not awaited.
    fn drop(&mut self) {
        if self.adopts.load(Ordering::Relaxed) {
            self.leftovers().kill();
        }
    }
}

/// The names, sorted and without duplicates.
fn names(processes: Vec<LeftoverProcess>) -> Vec<String> {
    let names: BTreeSet<String> = processes.into_iter().map(|process| process.name).collect();
    names.into_iter().collect()
}

impl LocalWorkspace {
    fn new(record: Record, clock: Arc<dyn Clock>) -> Self {
        Self {
            id: record.id.clone(),
            owner: record.owner.clone(),
            name: record.name.clone(),
            record: Mutex::new(record),
            applied: Mutex::default(),
            log: Log::new(clock),
            running: Arc::default(),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // The record is only replaced as a whole.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self) -> MutexGuard<'_, Option<Variables>> {
        // The variables are only replaced as a whole.
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the workspace agent and all of its processes, and waits until they have ended.
    async fn end(&self, running: &mut Option<Running>) {
        if let Some(ending) = running {
            ending.end().await;
            *self.applied() = None;
            *running = None;
        }
    }
}

fn unknown(wanted: &str, entries: &[Arc<LocalWorkspace>]) -> Error {
    let existing = entries.iter().map(|entry| entry.name.clone()).collect();
    Error::UnknownWorkspace { wanted: wanted.to_owned(), existing }
}

#[async_trait]
impl Workspaces for LocalWorkspaces {
    fn apply(&self, rules: &WorkspaceRules) {
        self.max_per_user.store(rules.max_per_user, Ordering::Relaxed);
    }

    fn are_unconfined(&self) -> bool {
        true
    }

    async fn templates(&self, _owner: &Owner) -> Result<Vec<Template>, Error> {
        Ok(self.catalog().templates())
    }

    async fn list(&self, owner: &Owner, filter: WorkspaceFilter) -> Result<WorkspacePage, Error> {
        let pager = Pager::new(filter)?;
        let all = self.owned(owner).into_iter().map(|entry| self.view(&entry));
        Ok(pager.page(all.filter(|workspace| pager.matches(workspace)).take(pager.needed()).collect()))
    }

    async fn list_all(&self, cursor: Option<&str>, limit: usize) -> Result<WorkspacePage, Error> {
        let all: Vec<Arc<LocalWorkspace>> = self.entries.lock().values().cloned().collect();
        let position = |entry: &Arc<LocalWorkspace>| (entry.owner.id.clone(), entry.name.clone(), entry.id.clone());
        let (found, next_cursor) = everyone::page(all, position, cursor, limit)?;
        Ok(WorkspacePage { workspaces: found.iter().map(|entry| self.view(entry)).collect(), next_cursor })
    }

    async fn get(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        Ok(self.view(&*self.find(owner, workspace)?))
    }

    async fn create(&self, owner: &Owner, request: CreateWorkspace) -> Result<Workspace, Error> {
        self.catalog().variables(&request.template, &request.parameters)?;
        check_name(&request.name)?;
        let record = Record {
            id: format!("ws-{}", self.unique()),
            name: request.name,
            owner: owner.clone(),
            template: request.template,
            parameters: request.parameters,
            status: Status::Running,
            created_at: self.clock.now(),
            last_activity: None,
        };
        let entry = Arc::new(LocalWorkspace::new(record.clone(), Arc::clone(&self.clock)));
        // Changes of the workspace wait for this lock, until its folder exists.
        let mut running = entry.running.lock().await;
        let mut name = HeldName::of(&self.entries, &entry, self.max_per_user.load(Ordering::Relaxed))?;
        self.store.create(record, move || name.keep()).await?;
        entry.log.note("made");
        self.agent_of(&entry, &mut running).await?;
        Ok(self.view(&entry))
    }

    async fn start(&self, owner: &Owner, workspace: &str, _at_once: Option<Duration>) -> Result<Workspace, Error> {
        let (entry, mut running) = self.change(owner, workspace).await?;
        self.agent_of(&entry, &mut running).await?;
        self.save(&entry, |record| record.status = Status::Running).await?;
        Ok(self.view(&entry))
    }

    async fn stop(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let (entry, mut running) = self.change(owner, workspace).await?;
        self.save(&entry, |record| record.status = Status::Stopped).await?;
        entry.end(&mut running).await;
        Ok(self.view(&entry))
    }

    async fn restart(&self, owner: &Owner, workspace: &str, _at_once: Option<Duration>) -> Result<Workspace, Error> {
        let (entry, mut running) = self.change(owner, workspace).await?;
        let record = entry.record().clone();
        // A workspace that could not start again is left unchanged.
        self.catalog().variables(&record.template, &record.parameters)?;
        entry.end(&mut running).await;
        self.agent_of(&entry, &mut running).await?;
        self.save(&entry, |record| record.status = Status::Running).await?;
        Ok(self.view(&entry))
    }

    async fn delete(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let (entry, mut running) = self.change(owner, workspace).await?;
        self.save(&entry, |record| record.status = Status::Stopped).await?;
        entry.end(&mut running).await;
        let (entries, id) = (self.entries.clone(), entry.id.clone());
        self.store
            .forget(&entry.id, move || {
                entries.lock().remove(&id);
            })
            .await?;
        self.store.free(&entry.id).await?;
        Ok(self.view(&entry))
    }

    async fn logs(&self, owner: &Owner, workspace: &str, lines: u32) -> Result<WorkspaceLogs, Error> {
        Ok(self.find(owner, workspace)?.log.tail(lines))
    }

    async fn agent(&self, owner: &Owner, workspace: &str, purpose: Purpose) -> Result<portcullis_agent::Client, Error> {
        let (entry, mut running) = self.change(owner, workspace).await?;
        if entry.record().status == Status::Stopped {
            return Err(Error::Stopped { workspace: entry.name.clone() });
        }
        let client = self.agent_of(&entry, &mut running).await?;
        let now = self.clock.now();
        let told = entry.record().last_activity.is_some_and(|last| now.duration_since(last) < ACTIVITY_EVERY);
        if purpose == Purpose::Work && !told {
            self.save(&entry, |record| record.last_activity = Some(now)).await?;
        }
        Ok(client)
    }
}
