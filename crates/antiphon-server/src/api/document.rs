//! The OpenAPI 3.1 document, made from the routes.

use utoipa::openapi::path::Paths;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::problem::ProblemView;
use super::route::{Route, SERVICE_KEY, SESSION};

/// The groups of routes, in the order in which they are read.
pub(super) const GROUPS: [(&str, &str); 10] = [
    ("Commands", "Anything that can be asked of the server, alone or many at once."),
    ("People", "Who there is, who is here, and telling them something."),
    ("Conversations", "What people and agents say to each other."),
    ("Agents", "Those who answer."),
    ("Topics", "Named values for whoever listens."),
    ("Keys", "Who may come in, and who may not any more."),
    ("Login", "How clients of people get a session. Needs no service key, and is not for backends."),
    ("Webhooks", "Other servers that are told what happens here: how they do, and what did not reach them."),
    ("Operating", "How the server is, and what happens on it."),
    ("Document", "This description."),
];

/// Describes `routes`.
pub(super) fn describe(routes: &[Route]) -> OpenApi {
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new()
        .schema(ProblemView::name(), ProblemView::schema())
        .security_scheme(SERVICE_KEY, bearer("The key of a backend: `Authorization: Bearer svc_…`."))
        .security_scheme(SESSION, bearer("The token of a person's session: `Authorization: Bearer ses_…`."));
    for route in routes {
        paths.add_path_operation(route.path, vec![route.method.clone()], route.operation.clone());
        for (name, schema) in &route.schemas {
            components = components.schema(name, schema.clone());
        }
    }
    let tags =
        GROUPS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    let description = "What an app's own backend asks of Antiphon. Bodies are JSON, unknown members are refused, and whatever \
        is refused is answered with `application/problem+json` and a stable `code`.";
    let info = InfoBuilder::new()
        .title("Antiphon")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(description))
        .license(Some(License::new("MIT")));
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

fn bearer(description: &str) -> SecurityScheme {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
    SecurityScheme::Http(scheme)
}
