//! A pod's mounted files, laid out as a kubelet does it (KEP-24, `AtomicWriter`): every set of files in a folder of its
//! own, and the link `..data` swapped by one rename.

use super::api_server::Problem;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{
            ConfigMap, KeyToPath, Pod, ProjectedVolumeSource, Secret, ServiceAccount, ServiceAccountTokenProjection,
        },
    },
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
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
    pod: Pod,
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
                Some((volume.name.clone(), Self { source, pod: pod.clone(), folder, files: None }))
            })
            .collect()
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A kubeconfig for the API server at `url`, beside the folder, with the token and the certificate in it.
    pub fn kubeconfig(&self, url: &str, namespace: &str) -> io::Result<String> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "pod",
            "clusters": [{"name": "pod", "cluster": {"server": url, "certificate-authority": file("ca.crt")}}],
            "users": [{"name": "pod", "user": {"tokenFile": file("token")}}],
            "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod", "namespace": namespace}}],
        });
        let path = self.folder.with_extension("kubeconfig");
        fs::write(&path, kubeconfig.to_string())?;
        Ok(path.display().to_string())
    }

    /// Lays the sources out as they are now, unless they are laid out already. What is missing is an error, as it is to
    /// a kubelet, which tries again.
    pub async fn refresh(&mut self, client: &Client, namespace: &str, now: Timestamp) -> Result<(), Problem> {
        let mut files = read(&self.source, client, namespace).await?;
        for source in self.source.sources.iter().flatten() {
            if let Some(token) = &source.service_account_token {
                // A kubelet asks for another one long before it expires; no test runs that long.
                let known = self.files.as_ref().and_then(|files| files.get(&token.path).cloned());
                let token_file = match known {
                    Some(known) => known,
                    None => request_token(&self.pod, token, client, namespace).await?,
                };
                files.insert(token.path.clone(), token_file);
            }
        }
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
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            match secrets.get_opt(&source.name).await? {
                Some(secret) => (&source.items, bytes(secret.data)),
                None if source.optional == Some(true) => continue,
                None => return Err(format!("there is no Secret {:?}", source.name).into()),
            }
        } else if let Some(source) = &source.config_map {
            let config_map: ConfigMap = Api::namespaced(client.clone(), namespace).get(&source.name).await?;
            let text = config_map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes()));
            (&source.items, text.chain(bytes(config_map.binary_data)).collect())
        } else if let Some(source) = &source.downward_api {
            for item in source.items.iter().flatten() {
                let field = item.field_ref.as_ref().map(|field| field.field_path.as_str());
                assert_eq!(field, Some("metadata.namespace"), "the only field that is projected here");
                files.insert(item.path.clone(), namespace.as_bytes().to_vec());
            }
            continue;
        } else if source.service_account_token.is_some() {
            continue;
        } else {
            return Err("this source is not projected here".into());
        };
        files.extend(select(items.as_deref(), data)?);
    }
    Ok(files)
}

/// A token of the pod's service account, bound to the pod.
async fn request_token(
    pod: &Pod,
    wanted: &ServiceAccountTokenProjection,
    client: &Client,
    namespace: &str,
) -> Result<Vec<u8>, Problem> {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default();
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: wanted.expiration_seconds,
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
    Ok(answer.status.ok_or("the token was not granted")?.token.into_bytes())
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
