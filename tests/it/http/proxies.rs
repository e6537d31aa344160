//! What a request says of its way here counts only from a proxy that is trusted.

use crate::harness::{App, Gateway, Got, Request, Step, run, stripe};

const FORWARDED: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

fn claiming(request: Request) -> Request {
    request
        .header("x-forwarded-for", "6.6.6.6, 198.51.100.1, 127.0.0.9")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "shop.example")
        .header("forwarded", "for=6.6.6.6;proto=https;host=evil.example")
        .header("x-forwarded-port", "6666")
}

fn told(got: &Got) -> [Option<&str>; 3] {
    assert_eq!(got.header("forwarded"), None);
    assert_eq!(got.header("x-forwarded-port"), None);
    FORWARDED.map(|name| got.header(name))
}

#[test]
fn forwarded_headers_of_an_untrusted_peer_are_replaced() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        for (place, proxies) in ["", "trusted_proxies = [\"192.0.2.0/24\"]"].iter().enumerate() {
            let settings = stripe("untrusted", &app.url, "");
            let gateway = Gateway::start_with(proxies, &settings, |_| {}).await;
            let request = claiming(gateway.stripe("untrusted", "evt_1"));
            assert_eq!(request.send().await.told(), (200, "processed"));
            let expected = [Some("127.0.0.1"), Some("http"), Some("hooks.example")];
            assert_eq!(told(&app.got()[place]), expected);
            gateway.finish().await;
        }
    });
}

#[test]
fn a_trusted_proxy_is_believed_as_far_as_every_hop_is_trusted() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let proxies = "trusted_proxies = [\"127.0.0.0/8\"]";
        // The queue's attempt is made from what is on disk.
        for (place, mode) in ["mode = \"proxy\"", "mode = \"queue\""].iter().enumerate() {
            let settings = stripe("trusted", &app.url, mode);
            let gateway = Gateway::start_with(proxies, &settings, |_| {}).await;
            let request = claiming(gateway.stripe("trusted", "evt_1"));
            assert_eq!(request.send().await.status, 200);
            app.until(place + 1).await;
            let expected = [Some("198.51.100.1"), Some("https"), Some("shop.example")];
            assert_eq!(told(&app.got()[place]), expected);
            gateway.until_state("trusted", "evt_1", "done").await;
            gateway.finish().await;
        }
    });
}
