//! Who sent a request, as far as that can be believed.
//!
//! Anyone can write `X-Forwarded-For`. It counts only where the connection comes from a proxy
//! that the operator trusts, and then only as far back as each hop is one of those: the first
//! address from the right that is not is the client. What stands left of it, the client wrote.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::deliver::Origin;
use crate::store::Payload;
use crate::verify::Delivery;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who sent a request, and how it was addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The client's address, if it has one.
    pub address: Option<IpAddr>,
    /// Whether the client spoke TLS.
    pub https: bool,
    /// The host that it asked a proxy for.
    pub host: Option<HeaderValue>,
}

impl Sender {
    /// Who sent a request with `headers` that came from `peer`, over TLS or not. Only what
    /// `trusted` proxies say of others is believed.
    pub fn new(peer: Option<IpAddr>, tls: bool, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        // A socket for both families shows an IPv4 address as one of IPv6.
        let peer = peer.map(|address| address.to_canonical());
        let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        let Some(proxy) = peer.filter(|address| is_trusted(*address)) else {
            return Self { address: peer, https: tls, host: None };
        };
        let mut address = proxy;
        for hop in list(headers, &FORWARDED_FOR).iter().rev() {
            let Some(hop) = parse(hop) else { break };
            address = hop;
            if !is_trusted(hop) {
                break;
            }
        }
        // The nearest proxy wrote the last of each.
        let https = match list(headers, &FORWARDED_PROTO).last() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(_) | None => tls,
        };
        let host = list(headers, &FORWARDED_HOST).last().and_then(|host| authority(host));
        Self { address: Some(address), https, host }
    }

    /// Addresses the delivery as the client did.
    pub(super) fn address(&self, delivery: &mut Delivery) {
        if let Some(host) = &self.host {
            delivery.headers.insert(HOST, host.clone());
        }
    }

    /// The delivery as it is stored.
    pub(super) fn payload(&self, delivery: &Delivery) -> Payload {
        Payload::new(delivery, self.address, self.https)
    }

    /// Where the delivery came from, as the application is told.
    pub(super) fn origin(&self) -> Option<Origin> {
        Some(Origin { address: self.address?, https: self.https })
    }
}

/// The items of a header that is a list, over all its lines. A line that is no text is one
/// item that means nothing.
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim).collect()
}

/// An address; some proxies add the port.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().or_else(|_| hop.parse().map(|with: SocketAddr| with.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

fn authority(host: &str) -> Option<HeaderValue> {
    let authority: Authority = host.parse().ok()?;
    (!host.contains('@')).then(|| HeaderValue::from_str(authority.as_str()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peer, `X-Forwarded-For` lines, and who is believed to be the client.
    type Case = (&'static str, &'static [&'static str], &'static str);

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "192.0.2.7/32", "::1/128", "fd00::/8"].map(|net| net.parse().unwrap()).into()
    }

    fn headers(name: &'static str, lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (HeaderName::from_static(name), HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_says_who_the_client_is() {
        let table: &[Case] = &[
            // Not from a proxy of ours: whatever is claimed, it is the peer.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("203.0.113.9", &["10.0.0.1"], "203.0.113.9"),
            ("127.0.0.1", &["198.51.100.1"], "127.0.0.1"),
            ("192.0.2.8", &["198.51.100.1"], "192.0.2.8"),
            ("2001:db8::1", &["198.51.100.1"], "2001:db8::1"),
            // From one of ours: the first from the right that is not ours.
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("192.0.2.7", &["198.51.100.1"], "198.51.100.1"),
            ("::1", &["2001:db8::5"], "2001:db8::5"),
            ("10.0.0.1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.2.3.4"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6, 198.51.100.1", "10.2.3.4, fd00::9"], "198.51.100.1"),
            ("10.0.0.1", &["10.6.6.6, 198.51.100.1, 10.2.3.4"], "198.51.100.1"),
            // Only ours: the farthest.
            ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // Junk ends the walk at the last good one.
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &["198.51.100.1,, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1;10.2.2.2"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.999"], "10.0.0.1"),
            ("10.0.0.1", &["0x7f.1"], "10.0.0.1"),
            ("10.0.0.1", &["\"198.51.100.1\""], "10.0.0.1"),
            // With a port, in brackets, and as IPv6 that is IPv4.
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("10.0.0.1", &["[2001:db8::5]"], "2001:db8::5"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1, ::ffff:10.2.2.2"], "198.51.100.1"),
        ];
        for (peer, lines, client) in table {
            let headers = headers("x-forwarded-for", lines);
            let sender = Sender::new(peer.parse().ok(), false, &headers, &trusted());
            assert_eq!(sender.address, client.parse().ok(), "{peer} {lines:?}");
            let nobody = Sender::new(peer.parse().ok(), false, &headers, &[]);
            let peer: IpAddr = peer.parse().unwrap();
            assert_eq!(nobody.address, Some(peer.to_canonical()), "without a trusted proxy");
        }
    }

    #[test]
    fn nobody_but_a_trusted_proxy_says_how_the_client_called() {
        let of = |peer: &str, tls, name, lines: &[&str]| {
            Sender::new(peer.parse().ok(), tls, &headers(name, lines), &trusted())
        };
        let proto = |peer, tls, lines: &[&str]| of(peer, tls, "x-forwarded-proto", lines).https;
        assert!(proto("10.0.0.1", false, &["https"]));
        assert!(proto("10.0.0.1", false, &["HTTPS"]));
        assert!(proto("10.0.0.1", false, &["http, https"]));
        assert!(!proto("10.0.0.1", true, &["http"]));
        assert!(!proto("10.0.0.1", false, &["https", "http"]));
        assert!(!proto("10.0.0.1", false, &["wss"]) && proto("10.0.0.1", true, &["wss"]));
        assert!(!proto("203.0.113.9", false, &["https"]));
        assert!(proto("203.0.113.9", true, &["http"]));
        let host = |peer, lines: &[&str]| of(peer, false, "x-forwarded-host", lines).host;
        assert_eq!(host("10.0.0.1", &["shop.example:8443"]).unwrap(), "shop.example:8443");
        assert_eq!(host("10.0.0.1", &["evil.example, shop.example"]).unwrap(), "shop.example");
        for junk in ["", "a b", "me@shop.example", "http://shop.example/", "shop.example/x"] {
            assert_eq!(host("10.0.0.1", &[junk]), None, "{junk}");
        }
        assert_eq!(host("203.0.113.9", &["evil.example"]), None);
        // `Forwarded` is believed of nobody.
        let of = of("10.0.0.1", false, "forwarded", &["for=198.51.100.1;proto=https;host=x"]);
        assert_eq!(of, Sender { address: "10.0.0.1".parse().ok(), https: false, host: None });
    }

    #[test]
    fn a_unix_socket_has_no_address_and_no_proxy() {
        let headers = headers("x-forwarded-for", &["198.51.100.1"]);
        let everyone = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        assert_eq!(Sender::new(None, false, &headers, &everyone).address, None);
    }
}
