//! The servers' configuration: the parsed manifest, as `config.json` in a ConfigMap.

use crate::{
    CorsEnforcer, PlanError,
    metadata::{Component, Owner},
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_config::{AccessRules, CONFIG_FILE, CorsRules, ServerConfig, ServerLimits, ToolRules, WorkspaceRules};
use portcullis_core::PublicUrl;

/// The suffix of the ConfigMap's name.
pub(super) const SUFFIX: &str = "config";

/// The configuration of a server, without secrets.
pub(super) fn config(
    owner: &Owner<'_>,
    url: PublicUrl,
    cors: CorsEnforcer,
    servers: u32,
) -> Result<ServerConfig, PlanError> {
    let spec = &owner.endpoint().spec;
    Ok(ServerConfig {
        endpoint: owner.name().to_owned(),
        url,
        path_aliases: spec.path_aliases.clone(),
        tls: spec.tls.is_some(),
        access_token_lifetime: spec.tokens.access_lifetime,
        refresh_token_lifetime: spec.tokens.refresh_lifetime,
        refresh_token_idle: spec.tokens.refresh_idle,
        login: spec.login.clone(),
        console: spec.console.clone(),
        client_policy: spec.clients.clone(),
        workload_identity: spec.workload_identity.as_ref().map_or_else(Vec::new, |identity| identity.rules.clone()),
        external_issuer: spec.external_issuer.clone(),
        workspaces: WorkspaceRules { mode: spec.authorization.mode, max_per_user: spec.workspaces.max_per_user },
        tools: ToolRules { allow: spec.tools.allow.clone(), deny: spec.tools.deny.clone() },
        cors: CorsRules {
            allowed_origins: spec.cors.allowed_origins.clone(),
            max_age: spec.cors.max_age,
            // This includes an endpoint without allowed origins: the server then refuses every origin.
            answered_here: cors == CorsEnforcer::Server,
        },
        limits: ServerLimits::new(&spec.limits, servers),
        access: AccessRules {
            allowed_cidrs: networks("spec.network.allowedCidrs", &spec.network.allowed_cidrs)?,
            trusted_proxies: networks("spec.network.trustedProxies", &spec.network.trusted_proxies)?,
            proxy_protocol: spec.network.proxy_protocol,
        },
    })
}

/// The ConfigMap with the configuration.
pub(super) fn config_map(owner: &Owner<'_>, file: &str) -> ConfigMap {
    ConfigMap {
        metadata: owner.metadata(owner.named(SUFFIX), Component::Server),
        data: Some([(CONFIG_FILE.to_owned(), file.to_owned())].into()),
        ..ConfigMap::default()
    }
}

fn networks(field: &'static str, texts: &[String]) -> Result<Vec<IpNet>, PlanError> {
    let parse =
        |text: &String| text.parse().map_err(|source| PlanError::Network { field, value: text.clone(), source });
    texts.iter().map(parse).collect()
}
