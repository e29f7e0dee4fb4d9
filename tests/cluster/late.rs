//! A client whose answers to reads of single objects come late: what happens meanwhile, a test decides.

use kube::{Client, client::Body};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The client, and who holds its answers back.
pub struct Late {
    pub client: Client,
    answered: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

impl Late {
    /// Reads whose path contains `path` are answered late.
    pub fn new(client: Client, namespace: &str, path: &'static str) -> Self {
        let (answered, let_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let service = {
            let (answered, let_go) = (Arc::clone(&answered), Arc::clone(&let_go));
            tower::service_fn(move |request: http::Request<Body>| {
                let held = request.method() == http::Method::GET && request.uri().path().contains(path);
                let (client, answered, let_go) = (client.clone(), Arc::clone(&answered), Arc::clone(&let_go));
                async move {
                    let answer = client.send(request).await;
                    if held {
                        answered.add_permits(1);
                        let_go.acquire().await.unwrap().forget();
                    }
                    answer
                }
            })
        };
        Self { client: Client::new(service, namespace), answered, let_go }
    }

    /// Does something after the API server answered a read, and before whoever reads hears of it.
    pub async fn meanwhile<T>(&self, what: impl Future<Output = T>) -> T {
        self.answered.acquire().await.unwrap().forget();
        let done = what.await;
        self.let_go.add_permits(1);
        done
    }
}
