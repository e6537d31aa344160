//! The admin listener on a unix socket.

use std::fs;

use oncegate::config::Config;
use oncegate::server::Bound;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::harness::{App, SECRET, Step, run, stripe};

/// Any host: no page can make a browser speak to a unix socket.
async fn get(socket: &std::path::Path, path: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: any.example\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_admin_listener_on_a_unix_socket_tells_a_story_without_a_token() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"unix:admin.sock\"\n\
             [storage]\npath = \"{}\"\nreserve = 0\ncache = \"4MiB\"\n{}",
            folder.path().join("events.redb").display(),
            stripe("over-unix", &app.url, ""),
        );
        fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path), &[].into()).unwrap();
        let verifier = &config.sources[0];
        let body = r#"{"id":"evt_1","object":"event","type":"charge.succeeded"}"#;
        let mut delivery = oncegate::verify::Delivery {
            method: "POST".parse().unwrap(),
            query: None,
            headers: http::HeaderMap::new(),
            body: body.into(),
        };
        verifier.verifier.sign(&mut delivery, "evt_1", oncegate::clock::wall()).unwrap();
        let path = verifier.path.clone();

        // A relative socket is beside the settings.
        let socket = folder.path().join("admin.sock");
        let bound = Bound::bind(config, None).await.unwrap();
        let public = bound.public().unwrap();
        assert!(bound.admin().is_err());
        let stop = CancellationToken::new();
        let running = tokio::spawn(bound.run(stop.clone().cancelled_owned()));
        while get(&socket, "/readyz").await.1 != "ready\n" {}
        let mut request = crate::harness::Request::new(public, &path, body.into());
        for (name, value) in &delivery.headers {
            request = request.header(name.as_str(), value.to_str().unwrap());
        }
        assert_eq!(request.send().await.told(), (200, "processed"));
        let (status, story) = get(&socket, "/api/v1/events/over-unix/evt_1").await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        let story: Value = serde_json::from_str(&story).unwrap();
        assert_eq!(story["state"], "done");
        assert!(!story.to_string().contains(SECRET));
        stop.cancel();
        running.await.unwrap().unwrap();
        assert!(!socket.exists(), "the socket was left behind");
    });
}
