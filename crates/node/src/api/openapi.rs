//! `/openapi.json`, made from the list of paths.

use serde_json::Value;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApiBuilder, PathsBuilder, Required,
    ResponseBuilder,
};

use super::access::Access;
use super::routes::{Endpoint, Field, Method};

const JSON: &str = "application/json";

fn kind(name: &str) -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    match name {
        "integer" => ObjectBuilder::new().schema_type(Type::Integer).build().into(),
        "boolean" => ObjectBuilder::new().schema_type(Type::Boolean).build().into(),
        "object" => ObjectBuilder::new().schema_type(Type::Object).build().into(),
        "array" => ArrayBuilder::new().items(text()).build().into(),
        _ => text().into(),
    }
}

fn required(field: &Field) -> Required {
    if field.required { Required::True } else { Required::False }
}

fn path_parameters(path: &str) -> impl Iterator<Item = Parameter> + '_ {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(kind("string")))
            .build()
    })
}

fn item(endpoint: &Endpoint) -> PathItem {
    let answer = ResponseBuilder::new()
        .description(endpoint.answer)
        .content(JSON, ContentBuilder::new().schema(Some(kind("object"))).build())
        .build();
    let refusal = ResponseBuilder::new()
        .description("message, code, hint")
        .content(JSON, ContentBuilder::new().schema(Some(kind("object"))).build())
        .build();
    let mut operation = OperationBuilder::new()
        .summary(Some(endpoint.summary))
        .response("200", answer)
        .response("400", refusal.clone());
    if endpoint.access != Access::Everybody {
        operation = operation
            .response("401", refusal.clone())
            .response("403", refusal)
            .security(SecurityRequirement::new("token", Vec::<String>::new()));
    }
    for parameter in path_parameters(&endpoint.path) {
        operation = operation.parameter(parameter);
    }
    if endpoint.method == Method::Post {
        let mut body = ObjectBuilder::new();
        for field in endpoint.fields {
            body = body.property(field.name, kind(field.kind));
            if field.required {
                body = body.required(field.name);
            }
        }
        let content = ContentBuilder::new().schema(Some(Schema::from(body.build()))).build();
        let body = RequestBodyBuilder::new().content(JSON, content).build();
        operation = operation.request_body(Some(body));
    } else {
        for field in endpoint.fields {
            let parameter = ParameterBuilder::new()
                .name(field.name)
                .parameter_in(ParameterIn::Query)
                .required(required(field))
                .schema(Some(kind(field.kind)))
                .build();
            operation = operation.parameter(parameter);
        }
    }
    let method = match endpoint.method {
        Method::Get => HttpMethod::Get,
        Method::Post => HttpMethod::Post,
        Method::Put => HttpMethod::Put,
        Method::Delete => HttpMethod::Delete,
        Method::Head => HttpMethod::Head,
    };
    PathItem::new(method, operation.build())
}

/// The document.
pub fn document<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> Value {
    let info = InfoBuilder::new()
        .title("quorate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "The API of a quorate node. Paths accept a trailing slash, keys of requests match \
             without regard to case, GET bodies are ignored. Callers on the node's own machine \
             need no token.",
        ))
        .build();
    let paths = endpoints
        .fold(PathsBuilder::new(), |paths, endpoint| {
            paths.path(endpoint.path.as_ref(), item(endpoint))
        })
        .build();
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = ComponentsBuilder::new().security_scheme("token", token).build();
    let document =
        OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build();
    serde_json::to_value(document).expect("an OpenAPI document is JSON")
}
