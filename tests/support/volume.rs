//! A pod's mounted files, laid out as a kubelet does it (KEP-24, `AtomicWriter`): every set of files in a folder of its
//! own, and the link `..data` swapped by one rename.

use super::controlplane::Problem;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, KeyToPath, Pod, ProjectedVolumeSource, Secret},
};
use kube::{Api, Client};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

const DATA: &str = "..data";

type Files = BTreeMap<String, Vec<u8>>;

/// One projected volume of a pod.
pub struct Volume {
    source: ProjectedVolumeSource,
    folder: PathBuf,
    files: Option<Files>,
}

impl Volume {
    /// The projected volumes of a pod by name, each to be laid out in a folder below `folder`.
    pub fn of_pod(pod: &Pod, folder: &Path) -> BTreeMap<String, Self> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        volumes
            .filter_map(|volume| {
                let source = volume.projected.clone()?;
                let folder = folder.join(&volume.name);
                Some((volume.name.clone(), Self { source, folder, files: None }))
            })
            .collect()
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lays the sources out as they are now, unless they are laid out already. What is missing is an error, as it is to
    /// a kubelet, which tries again.
    pub async fn refresh(&mut self, client: &Client, namespace: &str, now: Timestamp) -> Result<(), Problem> {
        let files = read(&self.source, client, namespace).await?;
        if self.files.as_ref() != Some(&files) {
            lay_out(&self.folder, &files, now)?;
            self.files = Some(files);
        }
        Ok(())
    }
}

async fn read(source: &ProjectedVolumeSource, client: &Client, namespace: &str) -> Result<Files, Problem> {
    let mut files = Files::new();
    for source in source.sources.iter().flatten() {
        let (items, data) = if let Some(source) = &source.secret {
            let secret: Secret = Api::namespaced(client.clone(), namespace).get(&source.name).await?;
            (&source.items, bytes(secret.data))
        } else if let Some(source) = &source.config_map {
            let config_map: ConfigMap = Api::namespaced(client.clone(), namespace).get(&source.name).await?;
            let text = config_map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes()));
            (&source.items, text.chain(bytes(config_map.binary_data)).collect())
        } else {
            return Err("only Secrets and ConfigMaps are projected here".into());
        };
        files.extend(select(items.as_deref(), data)?);
    }
    Ok(files)
}

fn bytes(data: Option<BTreeMap<String, ByteString>>) -> Files {
    data.into_iter().flatten().map(|(key, ByteString(bytes))| (key, bytes)).collect()
}

fn select(items: Option<&[KeyToPath]>, mut data: Files) -> Result<Files, Problem> {
    let Some(items) = items else { return Ok(data) };
    items
        .iter()
        .map(|item| {
            let bytes = data.remove(&item.key).ok_or_else(|| format!("there is no key {:?}", item.key))?;
            Ok((item.path.clone(), bytes))
        })
        .collect()
}

fn lay_out(folder: &Path, files: &Files, now: Timestamp) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = now.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let data = folder.join(DATA);
    let before = fs::read_link(&data).ok();
    fs::create_dir(folder.join(&name))?;
    for (path, bytes) in files {
        fs::write(folder.join(&name).join(path), bytes)?;
    }
    let staged = folder.join("..data_tmp");
    symlink(&name, &staged)?;
    fs::rename(&staged, &data)?;
    for path in files.keys().filter(|path| folder.join(path).symlink_metadata().is_err()) {
        symlink(Path::new(DATA).join(path), folder.join(path))?;
    }
    if let Some(before) = before {
        fs::remove_dir_all(folder.join(before))?;
    }
    Ok(())
}
