use crate::testing::{MACHINE, SECRET, Stage, refused};

#[tokio::test]
async fn a_client_gives_back_its_own_and_only_that() {
    let stage = Stage::new();
    let (first, second) = (stage.signed_in().await, stage.signed_in().await);
    let machine = stage.token_as(Some("agent:s%2Bc%25r+t"), &[MACHINE]).await.unwrap();
    let by = |token| [("client_id", "app"), ("token", token)];
    for (name, form, code) in [
        ("no token", vec![("client_id", "app")], "invalid_request"),
        ("no client", vec![("token", first.refresh())], "invalid_client"),
        ("wrong secret", vec![("client_id", "agent"), ("client_secret", "x"), ("token", "x")], "invalid_client"),
        ("another's refresh token", vec![("client_id", "brief"), ("token", first.refresh())], "invalid_grant"),
        ("another's access token", vec![("client_id", "brief"), ("token", &first.access)], "invalid_grant"),
        (
            "a token that nobody approved",
            vec![("client_id", "agent"), ("client_secret", SECRET), ("token", &machine.access)],
            "unsupported_token_type",
        ),
    ] {
        refused(stage.revoke(&form).await, code, name);
    }
    let forged = first.refresh().replace(".0.", ".1.");
    for token in ["unknown", "a.b.c", forged.as_str()] {
        stage.revoke(&by(token)).await.unwrap();
    }
    assert!(stage.caller(&first.access).await.is_ok(), "nothing of this ended anything");

    stage.revoke(&by(first.refresh())).await.unwrap();
    assert!(stage.caller(&first.access).await.is_err() && stage.renew(first.refresh()).await.is_err());
    stage.revoke(&by(first.refresh())).await.unwrap();
    assert!(stage.caller(&second.access).await.is_ok());
    stage.revoke(&by(&second.access)).await.unwrap();
    assert!(stage.caller(&second.access).await.is_err() && stage.renew(second.refresh()).await.is_err());
}
