//! What one route is: who answers it, and what the document says about it.
//!
//! Router and document are made from the same [`Route`]s, so that nothing is served that is not described, and the other way
//! round.

use antiphon_core::refusal::Refusal;
use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder};

use super::State;
use super::body::cut;
use super::problem::{PROBLEM, Problem};

/// The name of the security scheme of backends in the document.
pub(super) const SERVICE_KEY: &str = "serviceKey";

/// The name of the security scheme of people's sessions in the document.
pub(super) const SESSION: &str = "session";

/// Schemas by name, for the components of the document.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// One route: a method on a path.
pub(super) struct Route {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    pub(super) schemas: Schemas,
    pub(super) operation: Operation,
    handler: MethodRouter<State>,
}

impl Route {
    /// GET `path`, called `id` in the document.
    pub(super) fn get<H: Handler<T, State>, T: 'static>(id: &str, path: &'static str, handler: H) -> Self {
        Self::new(HttpMethod::Get, MethodFilter::GET, id, path, handler)
    }

    /// POST `path`, called `id` in the document.
    pub(super) fn post<H: Handler<T, State>, T: 'static>(id: &str, path: &'static str, handler: H) -> Self {
        Self::new(HttpMethod::Post, MethodFilter::POST, id, path, handler)
    }

    /// PUT `path`, called `id` in the document.
    pub(super) fn put<H: Handler<T, State>, T: 'static>(id: &str, path: &'static str, handler: H) -> Self {
        Self::new(HttpMethod::Put, MethodFilter::PUT, id, path, handler)
    }

    /// PATCH `path`, called `id` in the document.
    pub(super) fn patch<H: Handler<T, State>, T: 'static>(id: &str, path: &'static str, handler: H) -> Self {
        Self::new(HttpMethod::Patch, MethodFilter::PATCH, id, path, handler)
    }

    /// DELETE `path`, called `id` in the document.
    pub(super) fn delete<H: Handler<T, State>, T: 'static>(id: &str, path: &'static str, handler: H) -> Self {
        Self::new(HttpMethod::Delete, MethodFilter::DELETE, id, path, handler)
    }

    fn new<H: Handler<T, State>, T: 'static>(
        method: HttpMethod,
        filter: MethodFilter,
        id: &str,
        path: &'static str,
        handler: H,
    ) -> Self {
        let refused = ResponseBuilder::new()
            .description("It was refused: `code` says why, and nothing was stored.")
            .content(PROBLEM, problem());
        let operation = OperationBuilder::new().operation_id(Some(id)).response("default", refused).build();
        Self { method, path, schemas: Vec::new(), operation, handler: on(filter, handler) }
    }

    /// Which group it belongs to, what it does in one line, and what else there is to know.
    pub(super) fn says(self, group: &str, summary: &str, description: &str) -> Self {
        self.described(|operation| operation.tag(group).summary(Some(summary)).description(Some(description)))
    }

    /// It is for backends with a service key.
    pub(super) fn for_backends(self) -> Self {
        self.secured(SERVICE_KEY)
    }

    /// It is for people with a session.
    pub(super) fn for_sessions(self) -> Self {
        self.secured(SESSION)
    }

    fn secured(self, scheme: &str) -> Self {
        let scopes: [&str; 0] = [];
        self.described(|operation| operation.security(SecurityRequirement::new(scheme, scopes)))
    }

    /// A parameter of its path, with an example.
    pub(super) fn segment(self, name: &str, description: &str, example: &str) -> Self {
        self.parameter(ParameterIn::Path, name, Type::String, description, example.into())
    }

    /// A parameter of its query, with an example.
    pub(super) fn query(self, name: &str, kind: Type, description: &str, example: impl Into<Value>) -> Self {
        self.parameter(ParameterIn::Query, name, kind, description, example.into())
    }

    /// It may be sent again under the same `Idempotency-Key`.
    pub(super) fn idempotent(self) -> Self {
        let description = "A name for this very request, best a random one of 1 to 128 bytes. For 24 hours the same \
            request under the same key has no second effect and gets the same answer, with the header \
            `Idempotent-Replay: true`; another request under it is refused with 409.";
        self.parameter(ParameterIn::Header, "Idempotency-Key", Type::String, description, "order-4711".into())
    }

    fn parameter(
        self,
        place: ParameterIn,
        name: &str,
        kind: Type,
        description: &str,
        example: Value,
    ) -> Self {
        let required = if matches!(place, ParameterIn::Path) { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(description))
            .schema(Some(Object::with_type(SchemaType::new(kind))))
            .example(Some(example));
        self.described(|operation| operation.parameter(parameter))
    }

    /// What it takes as its body, with an example that works.
    pub(super) fn takes<T: ToSchema>(mut self, example: Value) -> Self {
        let content = ContentBuilder::new().schema(Some(self.names::<T>())).example(Some(example)).build();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(Required::True))
            .build();
        self.described(|operation| operation.request_body(Some(body)))
    }

    /// What it answers when it was done, with an example.
    pub(super) fn gives<T: ToSchema + Serialize>(
        mut self,
        status: StatusCode,
        description: &str,
        example: &T,
    ) -> Self {
        // The views of this API hold strings, numbers and lists of these.
        let example = serde_json::to_value(example).expect("a view is plain JSON");
        let content = ContentBuilder::new().schema(Some(self.names::<T>())).example(Some(example)).build();
        let response = ResponseBuilder::new().description(description).content("application/json", content);
        self.described(|operation| operation.response(status.as_str(), response))
    }

    /// What it answers when it was done, as text of this media type.
    pub(super) fn gives_text(self, media_type: &str, description: &str, example: &str) -> Self {
        let content = ContentBuilder::new()
            .schema(Some(Object::with_type(SchemaType::new(Type::String))))
            .example(Some(example.into()))
            .build();
        let response = ResponseBuilder::new().description(description).content(media_type, content);
        self.described(|operation| operation.response("200", response))
    }

    /// Nothing but the status says that it was done.
    pub(super) fn gives_nothing(self, description: &str) -> Self {
        let response = ResponseBuilder::new().description(description);
        self.described(|operation| operation.response("204", response))
    }

    /// A refusal that is worth knowing about, besides those that every route has.
    pub(super) fn refuses(self, status: StatusCode, description: &str) -> Self {
        let response = ResponseBuilder::new().description(description).content(PROBLEM, problem());
        self.described(|operation| operation.response(status.as_str(), response))
    }

    fn described(self, add: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        Self { operation: add(OperationBuilder::from(self.operation)).build(), ..self }
    }

    /// Has the document know `T`; returns a reference to it.
    fn names<T: ToSchema>(&mut self) -> Ref {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        Ref::from_schema_name(T::name())
    }
}

fn problem() -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build()
}

/// Everything that `routes` serve. Whatever else is asked is refused in the same words everywhere.
pub(super) fn router(routes: Vec<Route>, state: State) -> Router {
    let routed =
        routes.into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler));
    routed.fallback(nothing_here).method_not_allowed_fallback(not_so).with_state(state)
}

async fn nothing_here() -> Problem {
    Refusal::not_found("There is nothing here; /docs says what there is.").into()
}

async fn not_so(request: Request) -> Problem {
    // A client may make up a method of any length.
    let method = cut(request.method().as_str());
    let message = format!("{method} is not served here; the header Allow says what is.");
    Problem::invalid(message).with_status(StatusCode::METHOD_NOT_ALLOWED)
}
