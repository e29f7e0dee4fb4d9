//! What is between a server and a command breaks: the pod, the agent, the tunnel.

use super::scene::{Said, Scene};

pub async fn pod_is_deleted(scene: &Scene<'_>) -> Said {
    let delete = async || {
        scene.stage.kubectl(&["delete", "pod", &scene.pod(), "--grace-period=0", "--force"]);
    };
    scene.during(40, delete).await.until_it_is_back()
}

pub async fn container_is_killed(scene: &Scene<'_>) -> Said {
    let pod = scene.pod();
    scene.during(40, async || scene.kill(&pod, "agent run --bare")).await.until_it_is_back()
}

pub async fn agent_is_killed(scene: &Scene<'_>) -> Said {
    let pod = scene.pod();
    scene.during(40, async || scene.kill(&pod, "agent run --service --bare")).await
}

pub async fn tunnel_is_killed(scene: &Scene<'_>) -> Said {
    let pod = scene.pod();
    let said = scene.during(4, async || scene.kill(&pod, "agent connect --bare")).await;
    said.and(&scene.runs().await)
}
