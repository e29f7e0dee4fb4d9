//! Users of an identity provider who no longer may come in there, and the tokens with which the provider is asked.

use crate::{
    agent::parameter,
    ended::{reason, through, with_provider, with_provider_and},
    provider::Provider,
    stage::{Stage, after},
};
use portcullis_core::{account::SealedToken, grant::RevocationReason};
use portcullis_oauth::{
    accounts::{Account, Accounts as _},
    grant::Grants as _,
};
use serde_json::json;

pub const USER: &str = "sso:7";
pub const TOKEN: &str = "the-refresh-token-of-the-provider";
const DAY: i64 = 24 * 3600;

/// An agent of a user who signed in at the provider, which gave a token.
pub async fn connected(stage: &Stage, provider: &Provider) -> crate::agent::Tokens {
    let mut browser = stage.browser();
    assert_eq!(through(stage, provider, &mut browser, "/login/sso").await, "/agents");
    let code = parameter(&stage.consent(&mut browser, &[]).await, "code").unwrap();
    stage.redeem(&code, &[]).await.tokens()
}

/// A provider that gives tokens, and servers where people sign in there.
pub async fn with_tokens() -> (Provider, Stage) {
    let provider = Provider::start().await;
    provider.change(|world| world.refresh_token = Some(TOKEN.to_owned()));
    let stage = with_provider(&provider, &json!(["developers"])).await;
    stage.secrets.keep(TOKEN);
    (provider, stage)
}

/// Lets time pass, for both.
fn pass_to(stage: &Stage, provider: &Provider, second: i64) {
    stage.clock.set(after(second));
    provider.change(|world| world.now = Some(after(second).as_second()));
}

fn account(stage: &Stage) -> Account {
    Account::clone(&stage.state.account(USER).unwrap())
}

fn asked(provider: &Provider) -> usize {
    provider.world.lock().unwrap().refreshed.len()
}

fn answer(provider: &Provider, status: u16, error: &str) {
    let answer = (status, json!({"error": error}).to_string());
    provider.change(|world| world.refresh_answer = Some(answer));
}

/// A user is removed at the provider, and an agent of theirs refreshes a day later → refused, and with it every other agent
/// and browser session of that user.
#[tokio::test]
async fn a_user_who_was_removed_at_the_provider() {
    let (provider, stage) = with_tokens().await;
    let mut browser = stage.browser();
    through(&stage, &provider, &mut browser, "/login/sso").await;
    let code = parameter(&stage.consent(&mut browser, &[]).await, "code").unwrap();
    let (one, two) = (connected(&stage, &provider).await, stage.redeem(&code, &[]).await.tokens());
    answer(&provider, 400, "invalid_grant");
    stage.clock.set(after(60));
    let again = stage.refresh(&one.refresh, &[]).await.tokens();
    assert_eq!(asked(&provider), 0, "the sign-in was an answer, a minute ago");

    pass_to(&stage, &provider, DAY);
    let two_now = stage.refresh(&two.refresh, &[]).await;
    assert_eq!(two_now.error(), "invalid_grant", "{}", two_now.text);
    for tokens in [&one, &two] {
        assert_eq!(reason(&stage, &tokens.grant), Some(RevocationReason::ProviderRefused));
    }
    assert_eq!(stage.refresh(&again.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(asked(&provider), 1);
    assert!(stage.audit("user.rechecked").iter().any(|event| event["user"] == USER && event["outcome"] == "refused"));
    stage.stop().await;
}

/// A user is no longer in an allowed group at the provider → the next refresh after a day is refused.
#[tokio::test]
async fn a_user_who_left_the_group_at_the_provider() {
    let (provider, stage) = with_tokens().await;
    let tokens = connected(&stage, &provider).await;
    provider.change(|world| world.claims = json!({"groups": ["others"]}));
    pass_to(&stage, &provider, DAY);
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(reason(&stage, &tokens.grant), Some(RevocationReason::NotAllowed));
    stage.stop().await;
}

/// The provider is brought down, or made to answer with errors, to end other people's grants or to keep one's own → no
/// token is given meanwhile, and the grant and its refresh token stay.
#[tokio::test]
async fn a_provider_that_is_down() {
    let (provider, stage) = with_tokens().await;
    let tokens = connected(&stage, &provider).await;
    pass_to(&stage, &provider, DAY);
    for (status, error) in [(503, "invalid_grant"), (429, "invalid_grant"), (500, ""), (401, "invalid_client")] {
        answer(&provider, status, error);
        let refused = stage.refresh(&tokens.refresh, &[]).await;
        assert_eq!((refused.status.as_u16(), refused.error().as_str()), (503, "temporarily_unavailable"), "{status}");
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(reason(&stage, &tokens.grant), None);
    }
    provider.change(|world| world.refresh_answer = None);
    stage.refresh(&tokens.refresh, &[]).await.tokens();
    stage.stop().await;
}

/// A provider that gives no token, or whose account somebody deleted → a grant ends seven days after the user's last
/// sign-in.
#[tokio::test]
async fn a_user_about_whom_nobody_can_be_asked() {
    let provider = Provider::start().await;
    let stage = with_provider(&provider, &json!(["developers"])).await;
    let mut tokens = connected(&stage, &provider).await;
    for day in 1..7 {
        pass_to(&stage, &provider, day * DAY);
        tokens = stage.refresh(&tokens.refresh, &[]).await.tokens();
    }
    pass_to(&stage, &provider, 7 * DAY);
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(reason(&stage, &tokens.grant), Some(RevocationReason::SignInTooOld));
    stage.stop().await;
}

/// Who can write accounts puts the sealed token of a user who may come in into the account of one who was removed → it does
/// not open there, and is sent nowhere.
#[tokio::test]
async fn a_sealed_token_in_another_users_account() {
    let (provider, stage) = with_tokens().await;
    connected(&stage, &provider).await;
    let sealed = account(&stage).token.unwrap();
    assert!(!sealed.0.contains(TOKEN));
    provider.change(|world| world.claims = json!({"sub": "8"}));
    let tokens = connected(&stage, &provider).await;
    let of_other = Account::clone(&stage.state.account("sso:8").unwrap());
    stage.state.write_account(Account { token: Some(sealed), ..of_other }).await.unwrap();
    pass_to(&stage, &provider, 7 * DAY - 1);
    stage.refresh(&tokens.refresh, &[]).await.tokens();
    assert_eq!(asked(&provider), 0);
    stage.stop().await;
}

/// The sealed token of another endpoint is put into an account, or one that was made up → it does not open, and is sent
/// nowhere.
#[tokio::test]
async fn a_sealed_token_of_another_endpoint() {
    let (provider, stage) = with_tokens().await;
    let other = Stage::with(|setup| {
        setup.seed = 2;
        setup.config.login.clone_from(&stage.config.login);
        setup.logins = serde_json::from_slice(&stage.files.login).unwrap();
    })
    .await;
    connected(&other, &provider).await;
    let theirs = account(&other).token.unwrap();
    let tokens = connected(&stage, &provider).await;
    for wrong in [theirs, SealedToken("AAAA".to_owned()), SealedToken(TOKEN.to_owned()), SealedToken(String::new())] {
        stage.state.write_account(Account { token: Some(wrong), checked_at: None, ..account(&stage) }).await.unwrap();
        let renewed = stage.refresh(&tokens.refresh, &[]).await;
        assert_eq!(renewed.status, 200, "{}", renewed.text);
    }
    assert_eq!(asked(&provider), 0);
    other.stop().await;
    stage.stop().await;
}

/// Two agents of a user refresh at two servers at once → the provider's token, which counts once, is used by one of them
/// only, and the one that replaces it is kept.
#[tokio::test]
async fn two_refreshes_at_once() {
    let provider = Provider::start().await;
    provider.change(|world| world.refresh_token = Some(TOKEN.to_owned()));
    let stage = with_provider_and(&provider, &json!(["developers"]), |setup| setup.replicas = 2).await;
    let (one, two) = (connected(&stage, &provider).await, connected(&stage, &provider).await);
    pass_to(&stage, &provider, DAY);
    let (one, two) = tokio::join!(stage.refresh_at(0, &one.refresh, &[]), stage.refresh_at(1, &two.refresh, &[]));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200), "{} {}", one.text, two.text);
    assert_eq!(provider.world.lock().unwrap().refreshed, [TOKEN]);
    assert_eq!(account(&stage).checked_at, Some(after(DAY)));
    pass_to(&stage, &provider, 2 * DAY);
    stage.refresh_at(1, &two.tokens().refresh, &[]).await.tokens();
    assert_eq!(provider.world.lock().unwrap().refreshed, [TOKEN, &format!("{TOKEN}+")]);
    stage.stop().await;
}

/// What is kept of a user who signed in at a provider is read → the token is sealed, the session a hash.
#[tokio::test]
async fn a_reader_of_accounts() {
    let (provider, stage) = with_tokens().await;
    provider.change(|world| world.claims = json!({"sid": "the-session-at-the-provider"}));
    connected(&stage, &provider).await;
    let kept = account(&stage);
    let shown =
        format!("{kept:?} {} {}", kept.token.as_ref().unwrap().0, serde_json::to_string(&kept.sessions).unwrap());
    assert!(!shown.contains(TOKEN) && !shown.contains("the-session-at-the-provider"), "{shown}");
    assert_eq!((kept.sessions.len(), kept.signed_in_at), (1, Some(after(0))));
    assert_eq!(stage.state.of_user(USER).len(), 1);
    stage.stop().await;
}
