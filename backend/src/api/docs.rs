//! The API's description and its viewer. Both are the same for everybody and tell nothing of what was captured.

use std::sync::Arc;

use axum::Router;
use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::ApiState;

/// How a program says who it is.
pub struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        let schemes = [("token", HttpAuthScheme::Bearer), ("password", HttpAuthScheme::Basic)];
        let components = openapi.components.get_or_insert_default();
        for (name, scheme) in &schemes {
            components.add_security_scheme(*name, SecurityScheme::Http(Http::new(scheme.clone())));
        }
        let none: [String; 0] = [];
        openapi.security =
            Some(schemes.iter().map(|(name, _)| SecurityRequirement::new(*name, none.clone())).collect());
    }
}

pub fn router() -> Router<Arc<ApiState>> {
    // The viewer must not ask anybody on the internet to check the description.
    let config = Config::new(["/api/v1/openapi.json"]).validator_url("none").use_base_layout();
    SwaggerUi::new("/api/docs").config(config).url("/api/v1/openapi.json", super::openapi()).into()
}
