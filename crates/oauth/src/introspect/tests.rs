use crate::{
    grant::Grants as _,
    testing::{ADA, SECRET, Stage, changed, redemption, refused, renewal},
};
use portcullis_core::{Scope, grant::RevocationReason};

#[tokio::test]
async fn only_confidential_clients_are_told_of_their_own_tokens() {
    let stage = Stage::new();
    let code = stage.code("agent", &[Scope::FilesRead]).await;
    let own = stage.token(&changed(&redemption("agent", &code), &[("client_secret", SECRET)])).await.unwrap();
    let foreign = stage.signed_in().await;
    let ask = async |client: &str, token: &str| {
        stage.introspect(&[("client_id", client), ("client_secret", SECRET), ("token", token)]).await.unwrap()
    };
    let inactive = serde_json::json!({"active": false});
    let expected = serde_json::json!({
        "active": true, "scope": "files:read", "client_id": "agent", "username": "Ada", "token_type": "Bearer",
        "exp": 900, "iat": 0, "sub": ADA, "aud": "https://h.example.com/team/mcp", "iss": "https://h.example.com/team",
    });
    assert_eq!(ask("agent", &own.access).await, expected);
    let told = ask("agent", own.refresh()).await;
    assert_eq!((&told["active"], &told["exp"], told.get("token_type")), (&true.into(), &(7 * 24 * 3600).into(), None));
    for (client, token) in
        [("agent", foreign.access.as_str()), ("agent", foreign.refresh()), ("other", &own.access), ("agent", "x")]
    {
        assert_eq!(ask(client, token).await, inactive);
    }
    refused(
        stage.introspect(&[("client_id", "app"), ("token", &foreign.access)]).await,
        "unauthorized_client",
        "public",
    );
    refused(stage.introspect(&[("token", &own.access)]).await, "invalid_client", "nobody");

    let renewed = stage.token(&changed(&renewal("agent", own.refresh()), &[("client_secret", SECRET)])).await.unwrap();
    assert_eq!(ask("agent", own.refresh()).await, inactive, "replaced");
    stage.place.revoke(&stage_grant(&stage, "agent"), RevocationReason::ByUser, stage.now()).await.unwrap();
    for token in [&own.access, &renewed.access, renewed.refresh()] {
        assert_eq!(ask("agent", token).await, inactive, "revoked");
    }
}

fn stage_grant(stage: &Stage, client_id: &str) -> String {
    let grants = stage.place.of_user(ADA);
    grants.iter().find(|grant| grant.client_id == client_id).unwrap().name.clone()
}
