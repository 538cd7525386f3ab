//! Where to listen or to send: `host:port`, or a URL.

use std::fmt;

/// A checked endpoint. `Display` prints it as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    /// `http`, `https` or `unix` where the text has a scheme; `dns:///` counts as none.
    pub scheme: Option<&'static str>,
    /// The host without brackets; empty means all interfaces. For `unix` the socket's path.
    pub host: String,
    /// The port, if written.
    pub port: Option<u16>,
    /// Path and query of a URL with the leading slash; empty if there is none.
    pub path: String,
}

impl Endpoint {
    /// Reads an endpoint. The error says what would be right.
    pub fn parse(text: &str) -> Result<Endpoint, &'static str> {
        let (scheme, rest) = split_scheme(text)?;
        if scheme == Some("unix") {
            return match rest.is_empty() {
                true => Err("write the socket's path such as unix:///run/spanloom.sock"),
                false => Ok(Endpoint::new(text, scheme, rest, None, "")),
            };
        }
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if scheme.is_none() && !path.is_empty() {
            return Err("write host:port, or a URL that begins with http:// or https://");
        }
        if authority.contains('@') {
            return Err("write the URL without user and password; send those as headers");
        }
        let (host, port) = split_port(authority)?;
        if scheme.is_none() && port.is_none() {
            return Err("write host:port such as localhost:4317");
        }
        if scheme.is_some() && host.is_empty() {
            return Err("write a URL with a host such as http://localhost:4318");
        }
        let strange = |c: char| c.is_whitespace() || c.is_control() || "[]#".contains(c);
        if host.contains(strange) || path.contains(char::is_whitespace) {
            return Err("write host:port or a URL, without spaces");
        }
        Ok(Endpoint::new(text, scheme, host, port, path))
    }

    /// The port as written, else that of the scheme, else `otherwise`.
    pub fn port_or(&self, otherwise: u16) -> u16 {
        self.port.unwrap_or(match self.scheme {
            Some("https") => 443,
            Some("http") => 80,
            _ => otherwise,
        })
    }

    /// `host:port` for a socket, with brackets around IPv6.
    pub fn authority(&self, otherwise: u16) -> String {
        let port = self.port_or(otherwise);
        match self.host.contains(':') {
            true => format!("[{}]:{port}", self.host),
            false => format!("{}:{port}", self.host),
        }
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn new(
        text: &str,
        scheme: Option<&'static str>,
        host: &str,
        port: Option<u16>,
        path: &str,
    ) -> Endpoint {
        let (host, path) = (host.to_owned(), path.to_owned());
        Endpoint { text: text.to_owned(), scheme, host, port, path }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn split_scheme(text: &str) -> Result<(Option<&'static str>, &str), &'static str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok((None, text));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok((Some("http"), rest)),
        "https" => Ok((Some("https"), rest)),
        "unix" => Ok((Some("unix"), rest)),
        "dns" | "passthrough" => Ok((None, rest.trim_start_matches('/'))),
        _ => Err("use http://, https://, dns:/// or unix://, or host:port alone"),
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or("close the bracket: [::1]:4317")?;
            match tail.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if tail.is_empty() => (host, None),
                None => return Err("write a port after the bracket: [::1]:4317"),
            }
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("put brackets around an IPv6 address: [::1]:4317");
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| "the port must be a number from 0 to 65535")?)
        }
        Some(_) => return Err("the port must be a number from 0 to 65535"),
        None => None,
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scheme, host, port and path.
    type Parts<'a> = (Option<&'a str>, &'a str, Option<u16>, &'a str);

    #[track_caller]
    fn check(text: &str, expected: Result<Parts<'_>, &str>) {
        let found = Endpoint::parse(text);
        let found = found.as_ref().map(|e| (e.scheme, e.host.as_str(), e.port, e.path.as_str()));
        assert_eq!(found.map_err(|e| *e), expected, "{text:?}");
    }

    #[test]
    fn endpoints_are_hosts_with_ports_or_urls() {
        check("localhost:4317", Ok((None, "localhost", Some(4317), "")));
        check(":4317", Ok((None, "", Some(4317), "")));
        check("[::1]:4317", Ok((None, "::1", Some(4317), "")));
        check("https://a.example/otlp", Ok((Some("https"), "a.example", None, "/otlp")));
        check("HTTP://a:80", Ok((Some("http"), "a", Some(80), "")));
        check("dns:///a.example:4317", Ok((None, "a.example", Some(4317), "")));
        check("unix:///run/a.sock", Ok((Some("unix"), "/run/a.sock", None, "")));
        check("localhost", Err("write host:port such as localhost:4317"));
        check("", Err("write host:port such as localhost:4317"));
        check("::1:4317", Err("put brackets around an IPv6 address: [::1]:4317"));
        check("a:99999", Err("the port must be a number from 0 to 65535"));
        check("a:+1", Err("the port must be a number from 0 to 65535"));
        check("ftp://a", Err("use http://, https://, dns:/// or unix://, or host:port alone"));
        check("http://", Err("write a URL with a host such as http://localhost:4318"));
        check("a:1/x", Err("write host:port, or a URL that begins with http:// or https://"));
        let user = "write the URL without user and password; send those as headers";
        check("http://u:p@a", Err(user));
        check("http://u@a", Err(user));
    }

    #[test]
    fn the_port_of_a_url_follows_from_its_scheme() {
        let port = |text| Endpoint::parse(text).map(|e| e.authority(4317));
        assert_eq!(port("https://a").as_deref(), Ok("a:443"));
        assert_eq!(port("http://[::1]").as_deref(), Ok("[::1]:80"));
        assert_eq!(port("a:1").as_deref(), Ok("a:1"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = Endpoint::parse(&text);
        }
    }
}
