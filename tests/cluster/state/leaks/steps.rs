//! Everything that deals with credentials, done once.

use super::run::{Run, WRONG_PASSWORD};
use crate::{
    operator::stage::{api, eventually},
    state::stage::{Answer, CALLBACK, ORIGIN, PASSWORD, Server, VERIFIER, authorize, parameter, signed_in, text},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams};
use portcullis_config::Clients;
use portcullis_core::clock::{Clock as _, SystemClock};
use portcullis_oauth::workload::GRANT_TYPE;
use reqwest::Method;
use serde_json::{Value, json};

impl Run<'_> {
    /// A person signs in on the way from a confidential client, after a few mistakes. Its tokens are refreshed, and one
    /// of them comes twice.
    pub async fn sign_in_and_be_replayed(&mut self) {
        let [one, two] = self.servers.clone();
        let mut browser = one.browser();
        let page = browser.get(&authorize("robot")).await;
        let sign_in = self.seen(&browser, page).path().to_owned();
        for (user, password, status) in
            [("ann", WRONG_PASSWORD, 403), (PASSWORD, "ann", 403), ("nobody", PASSWORD, 403), ("ann", PASSWORD, 303)]
        {
            let page = browser.get(&sign_in).await;
            let form = self.seen(&browser, page).form("/login").with("user", user).with("password", password);
            let page = browser.submit("/login", &form.0).await;
            assert_eq!(self.seen(&browser, page).status, status);
        }
        let page = browser.get(&authorize("robot")).await;
        let page = self.seen(&browser, page);
        assert_eq!(page.header("cache-control"), "no-store");
        let narrow = page.form("/consent").without("scope").with("scope", "workspaces:read").with("decision", "allow");
        let page = browser.submit("/consent", &narrow.0).await;
        let code = parameter(self.seen(&browser, page).location(), "code");

        let redeem = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
        let wrong =
            [&redeem[..], &[("code_verifier", "another-code-verifier-of-the-length-that-it-takes-43")]].concat();
        assert_eq!(one.form("/token", &wrong, Some(self.robot())).await.0, 400);
        let right = [&redeem[..], &[("code_verifier", VERIFIER)]].concat();
        let first = one.form("/token", &right, Some(self.robot())).await;
        let first = self.given(first);
        self.introspect(&one, &first).await;
        let second = self.refresh(&two, &first).await;
        let third = self.refresh(&one, &second).await;
        for (server, tokens) in [(&one, &first), (&two, &second), (&two, &third)] {
            assert_eq!(server.call(text(tokens, "access_token")).await, 200);
        }
        let replay = [("grant_type", "refresh_token"), ("refresh_token", text(&first, "refresh_token"))];
        assert_eq!(two.form("/token", &replay, Some(self.robot())).await.0, 400);
        assert_eq!(two.call(text(&third, "access_token")).await, 401);
    }

    async fn introspect(&self, server: &Server, tokens: &Answer) {
        for kind in ["access_token", "refresh_token"] {
            let answer = server.form("/introspect", &[("token", text(tokens, kind))], Some(self.robot())).await;
            assert_eq!((answer.0, &answer.1["active"]), (200, &json!(true)));
        }
    }

    /// A public client's access is taken back by the person who allowed it.
    pub async fn take_back_by_page(&mut self) {
        let [one, two] = self.servers.clone();
        let mut browser = signed_in(&one).await;
        let code = self.allow(&mut browser, "claude").await;
        let tokens = two.redeem(&code).await;
        let tokens = self.given(tokens);
        eventually("the page has the agent", async || {
            let page = browser.get("/agents").await;
            let page = self.seen(&browser, page);
            let form = page.html.contains("/agents/revoke").then(|| page.form("/agents/revoke"))?;
            let page = browser.submit("/agents/revoke", &form.0).await;
            (self.seen(&browser, page).status == 303).then_some(())
        })
        .await;
        assert_eq!(one.call(text(&tokens, "access_token")).await, 401);
        let code = self.allow(&mut browser, "claude").await;
        let tokens = one.redeem(&code).await;
        self.lasting = Some(self.given(tokens));
    }

    /// A client registers itself, and gives back what it got.
    pub async fn register_and_give_back(&mut self) {
        let [one, two] = self.servers.clone();
        let registration = json!({"client_name": "An agent", "redirect_uris": [CALLBACK]});
        let answer = one.request(Method::POST, "/register").json(&registration).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let client: Value = answer.json().await.unwrap();
        let client_id = client["client_id"].as_str().unwrap();
        let mut browser = signed_in(&one).await;
        let code = self.allow(&mut browser, client_id).await;
        let redeem = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        let tokens = two.form("/token", &redeem, None).await;
        let tokens = self.given(tokens);
        let revoke = [("client_id", client_id), ("token", text(&tokens, "refresh_token"))];
        assert_eq!(one.form("/revoke", &revoke, None).await.0, 200);
        assert_eq!(one.call(text(&tokens, "access_token")).await, 401);
    }

    /// A person comes with an account of a provider.
    pub async fn come_from_github(&mut self) {
        let mut browser = self.servers[0].browser();
        let page = browser.get("/login").await;
        self.seen(&browser, page);
        let page = browser.get("/login/hub").await;
        let location = self.seen(&browser, page).location().to_owned();
        let query = self.github.authorize(&location);
        self.trail.note("authorization code of the provider", parameter(&format!("?{query}"), "code").as_bytes());
        let page = browser.get(&format!("/login/hub/callback?{query}")).await;
        assert_eq!(self.seen(&browser, page).path(), "/agents");
        let page = browser.get(&format!("/login/hub/callback?{query}")).await;
        assert_eq!(self.seen(&browser, page).status, 400, "it is not begun a second time");
        let page = browser.get(&authorize("claude")).await;
        let form = self.seen(&browser, page).form("/consent");
        assert!(!form.value("request").is_empty());
        let code = self.allow(&mut browser, "claude").await;
        let tokens = self.servers[1].redeem(&code).await;
        self.given(tokens);
    }

    /// Clients act for themselves: with a secret, with a key, and as a pod.
    pub async fn act_unattended(&mut self) {
        let [one, two] = self.servers.clone();
        let client_credentials = [("grant_type", "client_credentials")];
        let answer = one.form("/token", &client_credentials, Some(self.robot())).await;
        self.given(answer);
        let wrong = format!("pcs_{}", URL_SAFE_NO_PAD.encode([9; 32]));
        self.trail.note("wrong client secret", wrong.as_bytes());
        assert_eq!(one.form("/token", &client_credentials, Some(("robot", &wrong))).await.0, 401);

        let now = SystemClock.now().as_second();
        let claims = json!({
            "iss": "signer", "sub": "signer", "aud": ORIGIN, "iat": now, "exp": now + 60, "jti": "an assertion of the run",
        });
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::ES256) };
        let assertion = jsonwebtoken::encode(&header, &claims, &self.signer).unwrap();
        self.trail.note_jwt("client assertion", &assertion);
        let signed = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ];
        let answer = one.form("/token", &signed, None).await;
        self.given(answer);
        assert_eq!(one.form("/token", &signed, None).await.0, 401, "an assertion counts once");

        let args = ["-n", &self.stage.namespace, "create", "token", "runner", &format!("--audience={ORIGIN}")];
        let assertion = String::from_utf8(self.stage.plane.kubectl(&args).stdout).unwrap();
        self.trail.note_jwt("token of a service account", assertion.trim());
        let exchange = [("grant_type", GRANT_TYPE), ("assertion", assertion.trim())];
        let answer = two.form("/token", &exchange, None).await;
        let answer = self.given(answer);
        assert_eq!(two.call(text(&answer, "access_token")).await, 200);
        assert_eq!(
            two.form("/token", &[("grant_type", GRANT_TYPE), ("assertion", &self.client_secret)], None).await.0,
            400
        );
    }

    /// What clients and people get wrong: credentials in URLs, in other fields, in bodies that cannot be read.
    pub async fn put_credentials_where_they_do_not_belong(&mut self) {
        let tokens = self.lasting.clone().unwrap();
        let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        let [one, _] = &self.servers;
        for path in [
            format!("/mcp?access_token={access}"),
            format!("/{access}"),
            format!("/token?refresh_token={refresh}"),
            format!("/authorize?client_id={refresh}&code={access}"),
            format!("/login?continue={access}"),
            format!("/login/{refresh}"),
            format!("/login/hub/callback?code={access}&state={refresh}"),
            format!("/authorize?client_id=claude&redirect_uri=https://agent.example.com/{access}"),
        ] {
            let status = one.request(Method::GET, &path).send().await.unwrap().status().as_u16();
            assert!((400..500).contains(&status), "{status} {path}");
        }
        for fields in [
            vec![("grant_type", access), ("client_id", refresh)],
            vec![("grant_type", "refresh_token"), ("client_id", "claude"), ("refresh_token", access)],
            vec![
                ("grant_type", "authorization_code"),
                ("client_id", "claude"),
                ("code", refresh),
                ("code_verifier", VERIFIER),
            ],
            vec![("grant_type", "client_credentials"), ("scope", refresh), ("client_id", "claude")],
            vec![(refresh, "1"), (access, "2")],
            vec![("grant_type", "client_credentials"), ("client_id", &self.client_secret), ("client_secret", "robot")],
        ] {
            let answer = one.form("/token", &fields, None).await;
            assert!((400..500).contains(&answer.0), "{answer:?}");
        }
        let authorizations = [
            format!("Token {access}"),
            format!("Bearer {refresh}"),
            format!("Bearer {access} {access}"),
            format!("Basic {refresh}"),
        ];
        for authorization in authorizations {
            for path in ["/mcp", "/token"] {
                let request = one.request(Method::POST, path).header("Authorization", &authorization);
                let status = request.form(&[("grant_type", "client_credentials")]).send().await.unwrap().status();
                assert!(status.is_client_error(), "{status}");
            }
        }
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": refresh, "params": {"name": access}});
        let request = one.request(Method::POST, "/mcp").bearer_auth(access).json(&message);
        request.header("Accept", "application/json, text/event-stream").send().await.unwrap();
        let broken = one.request(Method::POST, "/mcp").bearer_auth(access).body(format!("{{\"{refresh}"));
        broken.header("Content-Type", "application/json").send().await.unwrap();
        let registration = json!({"client_name": refresh, "redirect_uris": [format!("http://{access}.example.com/")]});
        let answer = one.request(Method::POST, "/register").json(&registration).send().await.unwrap();
        assert_eq!(answer.status(), 400);
    }

    /// Somebody deletes a client's Secret, as after a leak.
    pub async fn rotate_the_client_secret(&mut self) {
        let old = self.client_secret.clone();
        // The old one is to be found nowhere any more.
        self.trail.rename("client secret", "client secret that was replaced");
        let secrets = api::<Secret>(&self.stage.client, &self.stage.namespace);
        secrets.delete("robot-oauth", &DeleteParams::default()).await.unwrap();
        let new = eventually("there is a new client secret", async || {
            self.read_client_secret().await.filter(|secret| *secret != old)
        })
        .await;
        self.trail.note("client secret", new.as_bytes());
        self.client_secret.clone_from(&new);
        for server in self.servers.clone() {
            let ask = async |secret: &str| {
                server.form("/token", &[("grant_type", "client_credentials")], Some(("robot", secret))).await
            };
            let answer = eventually("the new secret counts", async || {
                let answer = ask(&new).await;
                (answer.0 == 200).then_some(answer)
            })
            .await;
            self.given(answer);
            assert_eq!(ask(&old).await.0, 401);
        }
    }

    /// A server ends, and another takes its place.
    pub async fn restart_a_server(&mut self) {
        let ended = self.servers[0].clone();
        let pods = api::<Pod>(&self.stage.client, &self.stage.namespace);
        pods.delete(&ended.pod, &DeleteParams::default()).await.unwrap();
        self.servers = eventually("another server runs", async || {
            let servers = self.stage.servers().await;
            (!servers.contains(&ended)).then_some(servers)
        })
        .await;
        let tokens = self.lasting.take().unwrap();
        for server in self.servers.clone() {
            assert_eq!(server.call(text(&tokens, "access_token")).await, 200);
        }
        let refreshed = self.servers[1].refresh(text(&tokens, "refresh_token")).await;
        self.lasting = Some(self.given(refreshed));
        self.stage.ready();
    }

    /// Hashes and names are no credentials.
    pub async fn present_what_is_stored(&mut self) {
        let [one, _] = self.servers.clone();
        for grant in self.stage.grants().list(&ListParams::default()).await.unwrap() {
            let hash = grant.spec.refresh.unwrap().hash;
            let digits = hash.strip_prefix("sha256:").unwrap().to_owned();
            for stored in [&hash, &digits, &grant.metadata.name.unwrap()] {
                let refreshed = one.refresh(stored).await;
                assert_eq!((refreshed.0, text(&refreshed, "error")), (400, "invalid_grant"));
                assert_eq!(one.redeem(stored).await.0, 400);
                assert_eq!(one.call(stored).await, 401);
            }
        }
        let clients: Clients = serde_json::from_slice(&self.secret("agents-clients", "clients.json").await).unwrap();
        let hash = clients.get("robot").unwrap().secrets[0].hash.as_str().to_owned();
        for stored in [&*hash, hash.strip_prefix("sha256:").unwrap()] {
            let answer = one.form("/token", &[("grant_type", "client_credentials")], Some(("robot", stored))).await;
            assert_eq!((answer.0, text(&answer, "error")), (401, "invalid_client"));
        }
        let people = String::from_utf8(self.secret("people", "htpasswd").await).unwrap();
        let hash = people.trim().strip_prefix("ann:").unwrap();
        let mut browser = one.browser();
        assert_eq!(browser.sign_in("/login", "ann", hash).await.status, 403);
    }
}
