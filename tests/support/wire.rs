//! What is between a server and the API server: raw TCP, which a test can break.

use super::api_server::ApiServer;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A wire. It ends with this value.
pub struct Wire {
    url: String,
    forgotten: watch::Sender<u32>,
    cut: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Wire {
    /// One to the API server of a control plane.
    pub async fn start(plane: &ApiServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let upstream = plane.url().trim_start_matches("https://").to_owned();
        let (forgotten, cut) = (watch::Sender::new(0), watch::Sender::new(false));
        let mut task = JoinSet::new();
        let (forget, is_cut) = (forgotten.subscribe(), cut.subscribe());
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                if *is_cut.borrow() {
                    continue;
                }
                let mut far = TcpStream::connect(&upstream).await.unwrap();
                let (mut forget, mut is_cut) = (forget.clone(), is_cut.clone());
                forget.mark_unchanged();
                connections.spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = forget.changed() => std::future::pending().await,
                        () = async { drop(is_cut.wait_for(|cut| *cut).await) } => {}
                    }
                });
            }
        });
        Self { url, forgotten, cut, _task: task }
    }

    /// For a kubeconfig.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Forgets its connections without a word, as a node that dies or a load balancer that is replaced does; new ones
    /// pass.
    pub fn forget(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }

    /// Cuts every connection, and every new one too, until [`Self::mend`].
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// New connections pass again.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}
