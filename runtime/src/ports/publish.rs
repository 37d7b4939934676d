//! `-p`, as docker writes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Ports of the box to publish on the host:
/// `[ADDRESS:][HOST-PORT[-LAST]:]BOX-PORT[-LAST][/tcp|/udp]`. Without an
/// address they are published on every IPv4 and IPv6 address; without a host
/// port (or with 0) on a free one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Publish {
    address: Option<IpAddr>,
    /// The first port on the host; none for any free one.
    host: Option<u16>,
    /// The first port in the box.
    inside: u16,
    /// How many in a row; at least one. Both ends stay below 65,536.
    count: u16,
    protocol: Protocol,
}

/// Why a text is no [`Publish`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Too many or too few parts.
    #[error("cannot read published port {0:?}: write [ADDRESS:][HOST-PORT:]BOX-PORT[/tcp]")]
    Malformed(String),
    /// Not a number from 1 to 65535.
    #[error("cannot read published port {text:?}: {part:?} is not a port (1 to 65535)")]
    Port {
        /// The whole.
        text: String,
        /// The wrong part.
        part: String,
    },
    /// Not an IP address. Names aren't looked up.
    #[error("cannot read published port {text:?}: {part:?} is not an IP address")]
    Address {
        /// The whole.
        text: String,
        /// The wrong part.
        part: String,
    },
    /// Neither `/tcp` nor `/udp`.
    #[error("cannot read published port {text:?}: protocol {part:?} is neither tcp nor udp")]
    Protocol {
        /// The whole.
        text: String,
        /// The wrong part.
        part: String,
    },
    /// The ranges on both sides differ in length, or one runs backwards.
    #[error("cannot read published port {0:?}: both ranges must run upwards and be equally long")]
    Range(String),
}

impl Publish {
    /// What it speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The addresses of the host to listen on.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        match self.address {
            Some(address) => vec![address],
            None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        }
    }

    /// Whether a missing address family is no error: nobody asked for it.
    #[must_use]
    pub fn any_address(&self) -> bool {
        self.address.is_none()
    }

    /// Each pair of a port on the host (none: any free one) and one in the
    /// box.
    pub fn pairs(&self) -> impl Iterator<Item = (Option<u16>, u16)> {
        let (host, inside) = (self.host, self.inside);
        (0..self.count).map(move |n| (host.map(|first| first + n), inside + n))
    }
}

impl FromStr for Publish {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Self, PublishError> {
        let (rest, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((rest, "tcp")) => (rest, Protocol::Tcp),
            Some((rest, "udp")) => (rest, Protocol::Udp),
            Some((_, part)) => {
                return Err(PublishError::Protocol {
                    text: text.into(),
                    part: part.into(),
                });
            }
        };
        let (address, ports) = split_address(text, rest)?;
        let (host, inside) = match (address, ports.split_once(':')) {
            (Some(_), None) => return Err(PublishError::Malformed(text.into())),
            (None, None) => (None, ports),
            (_, Some((host, inside))) => (Some(host), inside),
        };
        let (first, last) = range(text, inside)?;
        if first == 0 {
            return Err(PublishError::Port {
                text: text.into(),
                part: inside.into(),
            });
        }
        let host = match host {
            None | Some("" | "0") => None,
            Some(host) => {
                let (host_first, host_last) = range(text, host)?;
                if host_first == 0 {
                    return Err(PublishError::Port {
                        text: text.into(),
                        part: host.into(),
                    });
                }
                if host_last - host_first != last - first {
                    return Err(PublishError::Range(text.into()));
                }
                Some(host_first)
            }
        };
        // 65,535 ports at most, as port 0 is out.
        Ok(Self {
            address,
            host,
            inside: first,
            count: last - first + 1,
            protocol,
        })
    }
}

/// Takes the address off the front, if there is one.
fn split_address<'a>(text: &str, rest: &'a str) -> Result<(Option<IpAddr>, &'a str), PublishError> {
    let wrong = |part: &str| PublishError::Address {
        text: text.into(),
        part: part.into(),
    };
    if let Some(tail) = rest.strip_prefix('[') {
        let (address, ports) = tail
            .split_once("]:")
            .ok_or_else(|| PublishError::Malformed(text.into()))?;
        let address: Ipv6Addr = address.parse().map_err(|_| wrong(address))?;
        return Ok((Some(address.into()), ports));
    }
    match rest.matches(':').count() {
        0 | 1 => Ok((None, rest)),
        2 => {
            let (address, ports) = rest
                .split_once(':')
                .ok_or_else(|| PublishError::Malformed(text.into()))?;
            let address: Ipv4Addr = address.parse().map_err(|_| wrong(address))?;
            Ok((Some(address.into()), ports))
        }
        _ => Err(PublishError::Malformed(text.into())),
    }
}

/// `N` or `FIRST-LAST`.
fn range(text: &str, part: &str) -> Result<(u16, u16), PublishError> {
    let port = |digits: &str| {
        // `parse` alone would take "+80".
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| digits.parse().ok())
            .flatten()
            .ok_or_else(|| PublishError::Port {
                text: text.into(),
                part: digits.into(),
            })
    };
    let (first, last) = match part.split_once('-') {
        None => (port(part)?, port(part)?),
        Some((first, last)) => (port(first)?, port(last)?),
    };
    if last < first {
        return Err(PublishError::Range(text.into()));
    }
    Ok((first, last))
}

impl TryFrom<String> for Publish {
    type Error = PublishError;

    fn try_from(text: String) -> Result<Self, PublishError> {
        text.parse()
    }
}

impl From<Publish> for String {
    fn from(publish: Publish) -> Self {
        publish.to_string()
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |first: u16| match self.count {
            1 => first.to_string(),
            count => format!("{first}-{}", first + (count - 1)),
        };
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        match self.host {
            Some(host) => write!(f, "{}:", range(host))?,
            None if self.address.is_some() => write!(f, ":")?,
            None => {}
        }
        write!(f, "{}/{}", range(self.inside), self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn publish(text: &str) -> Publish {
        text.parse().expect(text)
    }

    #[test]
    fn dockers_forms_are_read() {
        for (text, shown) in [
            ("80", "80/tcp"),
            ("8080:80", "8080:80/tcp"),
            ("0:80", "80/tcp"),
            ("127.0.0.1:8080:80/tcp", "127.0.0.1:8080:80/tcp"),
            ("127.0.0.1::80", "127.0.0.1::80/tcp"),
            ("[::1]:8080:80", "[::1]:8080:80/tcp"),
            ("8000-8002:9000-9002", "8000-8002:9000-9002/tcp"),
            ("53:53/udp", "53:53/udp"),
        ] {
            assert_eq!(publish(text).to_string(), shown, "{text}");
        }
        let pairs: Vec<_> = publish("8000-8002:9000-9002").pairs().collect();
        assert_eq!(
            pairs,
            [(Some(8000), 9000), (Some(8001), 9001), (Some(8002), 9002)]
        );
        assert_eq!(
            publish("65535:65535").pairs().collect::<Vec<_>>(),
            [(Some(65535), 65535)]
        );
        assert_eq!(publish("8080:80").addresses().len(), 2);
        assert_eq!(publish("[::1]:8080:80").addresses().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            (
                "",
                "cannot read published port \"\": \"\" is not a port (1 to 65535)",
            ),
            (
                "0",
                "cannot read published port \"0\": \"0\" is not a port (1 to 65535)",
            ),
            (
                "80:0",
                "cannot read published port \"80:0\": \"0\" is not a port (1 to 65535)",
            ),
            (
                "+1:80",
                "cannot read published port \"+1:80\": \"+1\" is not a port (1 to 65535)",
            ),
            (
                "70000:80",
                "cannot read published port \"70000:80\": \"70000\" is not a port (1 to 65535)",
            ),
            (
                "localhost:8080:80",
                "cannot read published port \"localhost:8080:80\": \"localhost\" is not an IP address",
            ),
            (
                "80/sctp",
                "cannot read published port \"80/sctp\": protocol \"sctp\" is neither tcp nor udp",
            ),
            (
                "1-2:1-3",
                "cannot read published port \"1-2:1-3\": both ranges must run upwards and be equally long",
            ),
            (
                "[::1]:80",
                "cannot read published port \"[::1]:80\": write [ADDRESS:][HOST-PORT:]BOX-PORT[/tcp]",
            ),
            (
                "1:2:3:4",
                "cannot read published port \"1:2:3:4\": write [ADDRESS:][HOST-PORT:]BOX-PORT[/tcp]",
            ),
        ] {
            assert_eq!(
                text.parse::<Publish>().expect_err(text).to_string(),
                message
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[0-9:\\[\\]./a-z-]{0,30}") {
            if let Ok(publish) = text.parse::<Publish>() {
                prop_assert_eq!(publish.to_string().parse(), Ok(publish.clone()));
                for (_, inside) in publish.pairs() {
                    prop_assert_ne!(inside, 0);
                }
            }
        }
    }
}
