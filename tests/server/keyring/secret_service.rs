//! A stand-in for the Secret Service of a desktop (Secret Service API 0.2 of freedesktop.org) and for the bus to it.
//!
//! Its public key for sessions is 1, so that all sessions have the same key: what one client encrypts, the next one can
//! decrypt, and the stand-in needs no cryptography.

use std::{
    collections::{BTreeMap, HashMap},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};
use zbus::{
    Guid,
    blocking::{Connection, connection},
    fdo, interface,
    zvariant::{OwnedObjectPath, OwnedValue, Value},
};

const COLLECTION: &str = "/org/freedesktop/secrets/collection/login";
const ATTRIBUTES: &str = "org.freedesktop.Secret.Item.Attributes";

type Attributes = HashMap<String, String>;
/// The session, the initialization vector, the ciphertext and the media type.
type Secret = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);
/// The path of an item, and that of a prompt.
type Created = (OwnedObjectPath, OwnedObjectPath);
type ItemMap = BTreeMap<String, (Attributes, Secret)>;

/// The items of the keyring, by path.
#[derive(Clone, Default)]
pub struct Items(Arc<Mutex<ItemMap>>);

impl Items {
    fn all(&self) -> MutexGuard<'_, ItemMap> {
        self.0.lock().unwrap()
    }

    /// The attributes of each item.
    pub fn attributes(&self) -> Vec<Attributes> {
        self.all().values().map(|(attributes, _)| attributes.clone()).collect()
    }
}

/// The bus, with the name of the client.
struct Bus(&'static str);

#[interface(name = "org.freedesktop.DBus")]
impl Bus {
    fn hello(&self) -> String {
        self.0.to_owned()
    }
}

/// The items, the path of the collection, and that of the sessions.
struct Service(Items, &'static str, &'static str);

#[interface(name = "org.freedesktop.Secret.Service")]
impl Service {
    fn open_session(&self, algorithm: &str, public_key: OwnedValue) -> (OwnedValue, OwnedObjectPath) {
        assert_eq!(algorithm, "dh-ietf1024-sha256-aes128-cbc-pkcs7");
        drop(public_key); // the session's key does not depend on it
        (Value::from(vec![1_u8]).try_into().unwrap(), path(self.2))
    }

    fn search_items(&self, wanted: Attributes) -> (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) {
        let wanted: Vec<(String, String)> = wanted.into_iter().collect();
        let fits = |has: &Attributes| wanted.iter().all(|(name, value)| has.get(name) == Some(value));
        let items = self.0.all();
        (items.iter().filter(|(_, (has, _))| fits(has)).map(|(item, _)| path(item)).collect(), Vec::new())
    }

    fn read_alias(&self, name: &str) -> OwnedObjectPath {
        assert_eq!(name, "default");
        path(self.1)
    }
}

/// The items, and whether they are locked.
struct Collection(Items, bool);

#[interface(name = "org.freedesktop.Secret.Collection")]
impl Collection {
    fn create_item(&self, properties: HashMap<String, OwnedValue>, secret: Secret, replace: bool) -> Created {
        assert!(replace);
        let (_, attributes) = properties.into_iter().find(|(name, _)| name == ATTRIBUTES).unwrap();
        let mut items = self.0.all();
        let item = format!("{COLLECTION}/{}", items.len());
        items.insert(item.clone(), (attributes.try_into().unwrap(), secret));
        (path(&item), path("/"))
    }

    #[zbus(property)]
    fn locked(&self) -> bool {
        self.1
    }
}

/// An item for the clients that connect after its creation: its path, and whether it is locked.
struct Item(Items, String, bool);

#[interface(name = "org.freedesktop.Secret.Item")]
impl Item {
    fn get_secret(&self, session: OwnedObjectPath) -> fdo::Result<Secret> {
        let found = self.0.all().get(&self.1).map(|(_, secret)| secret.clone());
        let (_, vector, ciphertext, media_type) = found.ok_or_else(|| fdo::Error::UnknownObject(self.1.clone()))?;
        Ok((session, vector, ciphertext, media_type))
    }

    fn set_secret(&self, secret: Secret) {
        self.0.all().get_mut(&self.1).unwrap().1 = secret;
    }

    fn delete(&self) -> OwnedObjectPath {
        self.0.all().remove(&self.1);
        path("/")
    }

    #[zbus(property)]
    fn locked(&self) -> bool {
        self.2
    }
}

fn path(text: &str) -> OwnedObjectPath {
    text.try_into().unwrap()
}

/// Serves an empty keyring at a socket, until the test ends.
pub fn serve(socket: &Path) -> Items {
    let (listener, items) = (UnixListener::bind(socket).unwrap(), Items::default());
    let (served, mut connections) = (items.clone(), Vec::new());
    let add = move |client| connections.push(connect(client, &served).unwrap());
    thread::spawn(move || listener.incoming().map(Result::unwrap).for_each(add));
    items
}

fn connect(client: UnixStream, items: &Items) -> zbus::Result<Connection> {
    let service = Service(items.clone(), COLLECTION, "/org/freedesktop/secrets/session/1");
    let mut served = connection::Builder::async_io_unix_stream(client)
        .server(Guid::generate())?
        .p2p()
        .serve_at("/org/freedesktop/DBus", Bus(":1.1"))?
        .serve_at("/org/freedesktop/secrets", service)?
        .serve_at(COLLECTION, Collection(items.clone(), false))?;
    for path in items.all().keys() {
        served = served.serve_at(path.clone(), Item(items.clone(), path.clone(), false))?;
    }
    served.build()
}
