//! Chat templates: Jinja with the settings, functions and filters that transformers gives them.

use crate::{python, Error, Result, Status};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use std::collections::BTreeMap;
use std::fmt;

const NAME: &str = "chat_template";
/// minijinja's recursion limits need more than the 512 KiB that macOS gives to secondary threads.
const STACK_BYTES: usize = 8 << 20;
const RESERVED: [&str; 3] = ["messages", "tools", "add_generation_prompt"];

pub struct Template {
    environment: Environment<'static>,
}

/// JSON texts and flags of one rendering.
#[derive(Default)]
pub struct Input<'a> {
    pub messages: &'a str,
    pub tools: Option<&'a str>,
    pub kwargs: Option<&'a str>,
    pub bos_token: Option<&'a str>,
    pub eos_token: Option<&'a str>,
    pub add_generation_prompt: bool,
}

/// Marks an error that the template itself raised.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

impl Template {
    pub fn compile(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|e| Error::new(Status::Parse, e))?;
        environment.set_syntax(syntax);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(python::unknown_method);
        environment.add_filter("tojson", python::tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        on_large_stack(|| {
            environment
                .add_template_owned(NAME, without_generation_tags(source))
                .map_err(|e| Error::new(Status::Parse, describe(&e)))
        })?;
        Ok(Template { environment })
    }

    pub fn render(&self, input: &Input) -> Result<String> {
        on_large_stack(|| self.render_here(input))
    }

    fn render_here(&self, input: &Input) -> Result<String> {
        let context = context(input)?;
        self.environment
            .get_template(NAME)
            .and_then(|t| t.render(Value::from(context)))
            .map_err(|e| match raised(&e) {
                Some(message) => Error::new(Status::Raised, message),
                None => Error::new(Status::Render, describe(&e)),
            })
    }
}

/// Runs `body` on a thread with a stack of known size: what the caller has left does not matter.
fn on_large_stack<T: Send>(body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("krtext-template".to_string())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, body)
            .map_err(|e| Error::new(Status::Render, format!("cannot start a thread: {e}")))?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn context(input: &Input) -> Result<BTreeMap<String, Value>> {
    let messages = parse("messages", input.messages)?;
    if !messages.is_array() {
        return Err(Error::new(
            Status::Parse,
            "messages: a JSON array is needed",
        ));
    }
    let tools = match input.tools {
        Some(text) => parse("tools", text)?,
        None => serde_json::Value::Null,
    };
    if !tools.is_array() && !tools.is_null() {
        return Err(Error::new(
            Status::Parse,
            "tools: a JSON array or null is needed",
        ));
    }
    // transformers always defines these two, as None if need be.
    let mut context = BTreeMap::from([("documents".to_string(), Value::from(()))]);
    for (name, token) in [
        ("bos_token", input.bos_token),
        ("eos_token", input.eos_token),
    ] {
        if let Some(token) = token {
            context.insert(name.to_string(), Value::from(token));
        }
    }
    if let Some(text) = input.kwargs {
        let serde_json::Value::Object(kwargs) = parse("kwargs", text)? else {
            return Err(Error::new(Status::Parse, "kwargs: a JSON object is needed"));
        };
        for (name, value) in kwargs {
            if RESERVED.contains(&name.as_str()) {
                let message = format!("kwargs: '{name}' is set by the request itself");
                return Err(Error::new(Status::InvalidArgument, message));
            }
            context.insert(name, python::from_json(value));
        }
    }
    context.insert("messages".to_string(), python::from_json(messages));
    context.insert("tools".to_string(), python::from_json(tools));
    context.insert(
        "add_generation_prompt".to_string(),
        Value::from(input.add_generation_prompt),
    );
    Ok(context)
}

fn parse(what: &str, text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|e| Error::new(Status::Parse, format!("{what}: {e}")))
}

fn raise_exception(message: String) -> std::result::Result<Value, minijinja::Error> {
    let error = minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception");
    Err(error.with_source(Raised(message)))
}

fn strftime_now(format: &str) -> std::result::Result<String, minijinja::Error> {
    jiff::fmt::strtime::format(format, &jiff::Zoned::now())
        .map_err(|e| minijinja::Error::new(ErrorKind::InvalidOperation, e.to_string()))
}

fn raised(error: &minijinja::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        if let Some(Raised(message)) = e.downcast_ref() {
            return Some(message.clone());
        }
        source = e.source();
    }
    None
}

/// "line 3: what", with the causes behind it.
fn describe(error: &minijinja::Error) -> String {
    let mut text = match error.line() {
        Some(line) => format!("line {line}: "),
        None => String::new(),
    };
    text.push_str(&error.kind().to_string());
    if let Some(detail) = error.detail() {
        text.push_str(": ");
        text.push_str(detail);
    }
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        text.push_str("; ");
        text.push_str(&e.to_string());
        source = e.source();
    }
    text
}

/// transformers' `{% generation %}` only marks the assistant's tokens for training; an `if` that
/// always holds has the same output and the same effect on white space.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        match generation_tag(rest) {
            Some((tag, bytes)) => {
                out.push_str(&tag);
                rest = &rest[bytes..];
            }
            None => {
                out.push_str("{%");
                rest = &rest[2..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The replacement of a generation tag at the beginning of `text`, and the bytes that the tag has.
fn generation_tag(text: &str) -> Option<(String, usize)> {
    let end = text.find("%}")?;
    let inner = &text[2..end];
    let word = inner
        .trim_start_matches(['-', '+'])
        .trim_end_matches(['-', '+']);
    let replacement = match word.trim() {
        "generation" => "if true",
        "endgeneration" => "endif",
        _ => return None,
    };
    Some((
        format!("{{%{}%}}", inner.replace(word.trim(), replacement)),
        end + 2,
    ))
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
