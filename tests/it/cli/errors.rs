//! What goes wrong, told with its cause and its mend, and the exit code a script sees.

use std::net::TcpListener;

use serde_json::Value;

use super::{Shell, like};
use crate::harness::{App, Step, nowhere, run};

#[test]
fn a_wrong_command_line_exits_2_and_names_the_nearest_right_one() {
    run(async {
        let sources = "[sources.stripe]\nprovider = \"stripe\"\n\
             secrets = [\"whsec_of_sixteen_letters\"]\ntarget = \"http://127.0.0.1:5000/\"\n";
        let shell = Shell::new(sources);
        let mut all = String::new();
        for args in [
            &["evnts"][..],
            &["events", "list", "--stat", "dead"],
            &["events", "list", "--state", "deed"],
            &["events", "list", "--all", "--limit", "3"],
            &["events", "show", "stripe"],
            &["events", "settle", "stripe:evt_1"],
            &["providers", "show", "gitub"],
            &["sign", "strip"],
            &["sign", "nothing-like-it"],
            &["sign", "stripe", "--times", "5"],
            &["sign", "stripe", "--send", "--times", "1001"],
            &["sign", "stripe", "--url", "ftp://127.0.0.1/"],
            &["sign", "stripe", "--send", "--url", "https://127.0.0.1/"],
            &["sign", "stripe", "--header", "no-colon"],
        ] {
            let ran = shell.run(args).await;
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
            all += &["$ oncegate ", &args.join(" "), "\n", &ran.err, "\n"].concat();
        }
        like("usage", &all);
    });
}

#[test]
fn wrong_settings_exit_3_for_every_command_that_reads_them() {
    run(async {
        let shell = Shell::new("[server]\nadmin = \"everywhere\"\nadmin_tokn = \"x\"\n");
        for args in [
            &["check"][..],
            &["serve"],
            &["health"],
            &["events", "list"],
            &["events", "show", "a:b"],
            &["sources"],
            &["compact"],
            &["sign", "stripe"],
        ] {
            let ran = shell.run(args).await;
            assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{args:?}: {}", ran.err);
            assert!(ran.err.contains("server.admin: "), "{args:?}: {}", ran.err);
        }
        let machine = shell.run(&["check", "--json"]).await;
        assert_eq!(machine.code, 3);
        let told: Value = serde_json::from_str(&machine.out).unwrap();
        assert_eq!(told["errors"][0]["key"], "server.admin", "{told}");
        assert_eq!(told["errors"].as_array().unwrap().len(), 2, "{told}");
        like("settings", &shell.run(&["health"]).await.whole());
        let missing = shell.run(&["--config", "other.toml", "health"]).await;
        assert_eq!(missing.code, 3);
        assert!(missing.err.contains("other.toml: cannot be read"), "{}", missing.err);
    });
}

#[test]
fn a_gateway_that_is_not_there_is_named_with_its_mend() {
    run(async {
        let shell = Shell::beside(&nowhere().await, "");
        like("not_there", &shell.run(&["events", "list"]).await.whole());
        for args in [
            &["events", "show", "a:b"][..],
            &["events", "redeliver", "a:b"],
            &["events", "settle", "a:b", "--as", "done"],
            &["events", "forget", "a:b"],
            &["sources"],
            &["sources", "show", "a"],
        ] {
            let ran = shell.run(args).await;
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{args:?}");
            assert!(ran.err.contains("start it with `oncegate serve`"), "{}", ran.err);
        }
        let health = shell.run(&["health"]).await;
        assert_eq!((health.code, health.out.as_str()), (4, ""));
        let health = shell.run(&["health", "--json"]).await;
        assert_eq!(health.code, 4);
        let told: Value = serde_json::from_str(&health.out).unwrap();
        assert_eq!((&told["ready"], &told["alive"]), (&false.into(), &false.into()));
    });
}

#[test]
fn a_gateway_that_is_not_ready_is_unhealthy_and_says_why() {
    run(async {
        let app = App::steps([
            Step::says(503, "draining\n"),
            Step::says(503, "disk low\n"),
            Step::says(404, "what?"),
            Step::says(200, "ready\n"),
        ])
        .await;
        let shell = Shell::beside(&app.url, "");
        like("draining", &shell.run(&["health"]).await.whole());
        let low = shell.run(&["health", "--json"]).await;
        assert_eq!(low.code, 4);
        assert!(low.out.contains("not ready: disk low"), "{}", low.out);
        assert_eq!(shell.run(&["health"]).await.code, 4);
        like("ready", &shell.run(&["health", "--json"]).await.whole());
        assert!(app.got().iter().all(|got| got.target == "/readyz"));
    });
}

#[test]
fn a_listener_that_never_answers_is_given_up() {
    run(async {
        // The kernel takes the connection, nobody reads.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shell = Shell::beside(&format!("http://{}/", listener.local_addr().unwrap()), "");
        let ran = shell.run(&["health"]).await;
        assert_eq!(ran.code, 4);
        assert!(ran.err.contains("no answer came within 5s"), "{}", ran.err);
    });
}

#[test]
fn what_answers_may_be_something_else() {
    run(async {
        let app = App::always(Step::says(200, "<html>\x1b[2J</html>")).await;
        let shell = Shell::beside(&app.url, "");
        like("something_else", &shell.run(&["sources"]).await.whole());
    });
}

#[test]
fn a_token_is_sent_and_never_shown() {
    run(async {
        let unauthorized = r#"{"error":"unauthorized","detail":"the token is wrong"}"#;
        let app = App::always(Step::says(401, unauthorized)).await;
        let token = "a-token-of-22-letters.";
        let shell = Shell::beside(&app.url, &format!("admin_token = \"{token}\"\n"));
        let ran = shell.run(&["events", "list"]).await;
        like("wrong_token", &ran.whole());
        let sent = format!("Bearer {token}");
        assert_eq!(app.got()[0].header("authorization"), Some(sent.as_str()));
        let none = Shell::beside(&app.url, "").run(&["events", "list"]).await;
        assert!(none.err.contains("these settings have no server.admin_token"), "{}", none.err);
        assert_eq!(app.got()[1].header("authorization"), None);
    });
}

#[test]
fn an_operator_needs_no_secret_of_any_source() {
    run(async {
        let app = App::always(Step::says(200, r#"{"events":[],"cursor":null}"#)).await;
        let shell = Shell::beside(
            &app.url,
            "tls = { cert = \"its-own.pem\", key = \"its-own.key\" }\n\
             [sources.stripe]\nprovider = \"stripe\"\nsecrets = [{ credential = \"stripe\" }]\n\
             target = \"http://127.0.0.1:5000/\"\n",
        );
        assert_eq!(shell.run(&["check"]).await.code, 3, "the service alone has it");
        assert_eq!(shell.run(&["health"]).await.done(), "ready\n");
        let ran = shell.run(&["events", "list", "--source", "stripe"]).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, "no event fits\n"));
    });
}
