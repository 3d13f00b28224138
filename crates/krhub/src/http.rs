//! Requests to the hub: redirects, the token, and which failures are worth another attempt.

use crate::settings::Settings;
use crate::{Error, Progress, Result, Retry};
use std::fs;
use std::time::{Duration, Instant};
use ureq::http::Response;
use ureq::tls::{parse_pem, PemItem, RootCerts, TlsConfig};
use ureq::Body;

const MAX_REDIRECTS: usize = 10;
const MAX_ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A server that asks for more is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

pub struct Client {
    agent: ureq::Agent,
    endpoint: String,
    token: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
}

fn roots(settings: &Settings) -> Result<RootCerts> {
    let Some(path) = &settings.roots else {
        return Ok(RootCerts::WebPki);
    };
    let failed = |what: String| Error::new(format!("SSL_CERT_FILE {}: {what}", path.display()));
    let text = fs::read(path).map_err(|e| failed(e.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(e.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(failed("holds no certificate".to_string()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// Scheme, host and port: the part of a URL that a token may be sent to.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

pub fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Percent-encodes all but what may stand in a path; slashes too.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte as char)
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn unreachable(url: &str, error: ureq::Error) -> Error {
    let host = origin(url);
    // A handshake that fails is an io error of this kind.
    let refused = match &error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    };
    match error {
        _ if refused => Error::new(format!(
            "{host} cannot be trusted: {error}; where the certificates of a company are in use, set \
             SSL_CERT_FILE to them"
        )),
        ureq::Error::BadUri(_) => Error::new(format!("{host}: {error}")),
        _ => Error::passing(format!("{host} cannot be reached: {error}")),
    }
}

fn passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

impl Client {
    pub fn new(settings: &Settings) -> Result<Client> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(settings.silence))
            .timeout_recv_response(Some(settings.silence))
            .timeout_per_read(Some(settings.silence))
            .user_agent(concat!("krserve/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots(settings)?).build())
            .build();
        Ok(Client {
            agent: ureq::Agent::new_with_config(config),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
        })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// One exchange without redirects. The token goes to the endpoint alone.
    fn exchange(&self, method: Method, url: &str, from: u64) -> Result<Response<Body>> {
        let mut request = match method {
            Method::Get => self.agent.get(url),
            Method::Head => self.agent.head(url),
        };
        if let (Some(token), true) = (&self.token, origin(url) == origin(&self.endpoint)) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| unreachable(url, error))
    }

    fn redirected(&self, response: &Response<Body>, url: &str) -> Result<String> {
        let target = header(response, "location").unwrap_or_default();
        let next = match target {
            _ if target.starts_with("https://") || target.starts_with("http://") => target.to_string(),
            _ if target.starts_with('/') => format!("{}{target}", origin(url)),
            _ => return Err(Error::new(format!("{url} redirects to '{target}', which is no address"))),
        };
        if url.starts_with("https://") && next.starts_with("http://") {
            let message = format!("{url} redirects to an address without encryption; refused");
            return Err(Error::new(message));
        }
        Ok(next)
    }

    /// Follows redirects; those of a HEAD only within the endpoint, where a file's own headers are.
    fn follow(&self, method: Method, url: &str, from: u64) -> Result<Response<Body>> {
        let mut url = url.to_string();
        for _ in 0..MAX_REDIRECTS {
            let response = self.exchange(method, &url, from)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let next = self.redirected(&response, &url)?;
            if method == Method::Head && origin(&next) != origin(&self.endpoint) {
                return Ok(response);
            }
            url = next;
        }
        Err(Error::new(format!("{url} redirects more than {MAX_REDIRECTS} times")))
    }

    /// A response below 400 (or 416); else an Error with what the hub says of it.
    pub fn request(&self, method: Method, url: &str, from: u64, what: &str) -> Result<Response<Body>> {
        let response = self.follow(method, url, from)?;
        let status = response.status().as_u16();
        if status < 400 || status == 416 {
            return Ok(response);
        }
        Err(self.refusal(&response, status, what))
    }

    fn refusal(&self, response: &Response<Body>, status: u16, what: &str) -> Error {
        let said = header(response, "x-error-message").map_or(String::new(), |s| format!(" ({s})"));
        let code = header(response, "x-error-code").unwrap_or_default();
        let endpoint = &self.endpoint;
        let missing = "check the spelling, and the revision where one was given";
        let message = match status {
            401 | 403 if self.token.is_some() => format!(
                "{what}: {endpoint} refuses the token (HTTP {status}){said}; accept the model's \
                 conditions on its page, or set HF_TOKEN to a token that may read it"
            ),
            401 | 403 => format!(
                "{what}: {endpoint} wants a token (HTTP {status}){said}: the model does not exist, or \
                 is gated or private; check its name, accept its conditions on its page, and set HF_TOKEN"
            ),
            404 if code == "RevisionNotFound" => {
                format!("{what}: {endpoint} has the model, but not this revision{said}; {missing}")
            }
            404 => format!("{what} is not at {endpoint} (HTTP 404){said}; {missing}"),
            429 => format!("{what}: {endpoint} has had too many requests (HTTP 429){said}; try later, or set HF_TOKEN"),
            _ => format!("{what}: {endpoint} answers HTTP {status}{said}"),
        };
        let pause = header(response, "retry-after").and_then(|text| text.trim().parse().ok());
        let retry = match pause.map(Duration::from_secs) {
            _ if !passing(status) => Retry::Never,
            Some(pause) if pause > LONGEST_PAUSE => Retry::Never,
            Some(pause) => Retry::After(pause),
            None => Retry::Later,
        };
        Error::Failed { message, retry }
    }
}

/// Counts attempts and pauses between them.
pub struct Attempts {
    left: u32,
    most: u32,
    pause: Duration,
}

impl Attempts {
    pub fn new(most: u32) -> Attempts {
        Attempts {
            left: most,
            most,
            pause: FIRST_PAUSE,
        }
    }

    /// As many as a lasting failure should get before it is reported.
    pub fn patient() -> Attempts {
        Attempts::new(MAX_ATTEMPTS)
    }

    /// To be called when something was achieved: the next failure is a new one.
    pub fn reset(&mut self) {
        *self = Attempts::new(self.most);
    }

    fn last(&self, failure: Error) -> Error {
        let retry = failure.retry();
        let message = match self.most {
            1 => failure.to_string(),
            most => format!("{failure}; gave up after {most} attempts"),
        };
        Error::Failed { message, retry }
    }

    /// Pauses before another attempt, or hands the failure back.
    pub fn again(&mut self, failure: Error, fraction: f64, progress: &mut Progress) -> Result<()> {
        let pause = match failure.retry() {
            Retry::Never => return Err(failure),
            Retry::Later => self.pause,
            Retry::After(pause) => pause,
        };
        self.left -= 1;
        if self.left == 0 {
            return Err(self.last(failure));
        }
        self.pause *= 2;
        let end = Instant::now() + pause;
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            if !progress(fraction, &format!("waiting {} s: {failure}", left.as_secs() + 1)) {
                return Err(Error::Stopped);
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_s_reach_is_scheme_host_and_port() {
        assert_eq!(origin("https://host/a/b"), "https://host");
        assert_eq!(origin("http://host:80?x"), "http://host:80");
        assert_ne!(origin("https://host.evil/x"), origin("https://host/x"));
        assert_ne!(origin("http://host/x"), origin("https://host/x"));
    }

    #[test]
    fn slashes_and_spaces_are_quoted() {
        assert_eq!(quote("refs/pr/3 é"), "refs%2Fpr%2F3%20%C3%A9");
    }
}
