//! What an operator sees: health, metrics from the first moment, the story, and the token.

use oncegate::record::{Label, Verdict};
use oncegate::telemetry::Outcome;
use oncegate::verify::Rejection;

use crate::harness::{App, Gateway, Request, Step, nowhere, run, stripe};

#[test]
fn every_series_is_there_at_zero_from_the_start() {
    run(async {
        let settings = stripe("zero", &nowhere().await, "");
        let gateway = Gateway::start(&settings).await;
        let text = String::from_utf8(gateway.get("/metrics").await.body).unwrap();
        let mut series = Vec::new();
        for outcome in Outcome::ALL {
            series.push(format!(
                "deliveries_total{{source=\"zero\",outcome=\"{}\"}}",
                outcome.word()
            ));
        }
        for verdict in Verdict::ALL {
            series.push(format!("attempts_total{{source=\"zero\",result=\"{}\"}}", verdict.word()));
        }
        for reason in Rejection::ALL {
            let reason = reason.word();
            series.push(format!("signature_failures_total{{source=\"zero\",reason=\"{reason}\"}}"));
        }
        for state in Label::ALL {
            series.push(format!("events{{source=\"zero\",state=\"{}\"}}", state.word()));
        }
        for name in [
            "mismatches_total",
            "suspects_total",
            "swept_total",
            "queue_oldest_seconds",
            "last_delivery_timestamp_seconds",
            "delivery_duration_seconds_count",
            "attempt_duration_seconds_count",
            "duplicate_lag_seconds_count",
        ] {
            series.push(format!("{name}{{source=\"zero\"}}"));
        }
        series.push("deliveries_total{source=\"_none\",outcome=\"unavailable\"}".to_owned());
        for series in series {
            let line = format!("oncegate_{series} 0\n");
            assert!(text.contains(&line), "missing: {line}");
        }
        let of_all = [
            "stale_settlements_total ",
            "commit_duration_seconds_count ",
            "commit_batch_size_count ",
            "store_bytes ",
            "build_info{version=\"",
            "duplicate_lag_seconds_bucket{source=\"zero\",le=\"",
            "delivery_duration_seconds_bucket{source=\"zero\",le=\"",
        ];
        for start in of_all {
            assert!(text.contains(&format!("\noncegate_{start}")), "missing: {start}");
        }
        gateway.finish().await;
    });
}

#[test]
fn the_metrics_follow_what_happens() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("counts", &app.url, "")).await;
        let event = gateway.stripe("counts", "evt_1");
        event.send().await;
        event.send().await;
        let source = "source=\"counts\"";
        for (name, labels, value) in [
            ("oncegate_deliveries_total", ",outcome=\"processed\"", 1.0),
            ("oncegate_deliveries_total", ",outcome=\"duplicate\"", 1.0),
            ("oncegate_attempts_total", ",result=\"success\"", 1.0),
            ("oncegate_delivery_duration_seconds_count", "", 2.0),
            ("oncegate_attempt_duration_seconds_count", "", 1.0),
            ("oncegate_duplicate_lag_seconds_count", "", 1.0),
        ] {
            let labels = format!("{source}{labels}");
            assert_eq!(gateway.metric(name, &labels).await, Some(value), "{name}{{{labels}}}");
        }
        let last = gateway.metric("oncegate_last_delivery_timestamp_seconds", source).await;
        assert!(last.unwrap() > 1.7e9);
        // Gauges are set every second.
        let done = format!("{source},state=\"done\"");
        while gateway.metric("oncegate_events", &done).await != Some(1.0) {
            tokio::task::yield_now().await;
        }
        gateway.finish().await;
    });
}

#[test]
fn copies_that_waited_for_the_leader_count_in_the_duplicate_lag() {
    run(async {
        let app = App::always(Step::says(200, "fine").held()).await;
        let gateway = Gateway::start(&stripe("lags", &app.url, "")).await;
        let event = gateway.stripe("lags", "evt_1");
        let mut open = super::send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
        app.until(1).await;
        open.extend(super::send_and_be_read(&gateway, &vec![event; 4]).await);
        app.release(1);
        super::answers_of(open).await;
        let lags = gateway.metric("oncegate_duplicate_lag_seconds_count", "source=\"lags\"").await;
        assert_eq!(lags, Some(4.0));
        gateway.finish().await;
    });
}

#[test]
fn the_story_tells_every_attempt_and_delivery() {
    run(async {
        let app = App::steps([
            Step::says(503, "later"),
            Step::HangUp,
            Step::with(201, ("x-mine", "1"), "made"),
        ])
        .await;
        let gateway = Gateway::start(&stripe("tells", &app.url, "")).await;
        let event = gateway.stripe("tells", "evt_1");
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(event.send().await.outcome().to_owned());
        }
        assert_eq!(told, ["failed", "unknown", "processed", "duplicate"]);
        let story = gateway.story("tells", "evt_1").await.unwrap();
        for (field, value) in [
            ("source", "tells"),
            ("key", "evt_1"),
            ("idempotency_key", "tells:evt_1"),
            ("state", "done"),
            ("copies_get", "answer"),
        ] {
            assert_eq!(story[field], value, "{field}");
        }
        let lines = story["story"].as_array().unwrap();
        let brief: Vec<_> = lines
            .iter()
            .map(|line| {
                let what = line["event"].as_str().unwrap();
                let result = line["result"].as_str().unwrap_or_default();
                format!(
                    "{what} {} {result} -> {}",
                    line["attempt"],
                    line["state"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            brief,
            [
                "claimed 1  -> in_flight",
                "settled 1 failed -> open",
                "claimed 2  -> in_flight",
                "settled 2 unknown -> open",
                "claimed 3  -> in_flight",
                "settled 3 success -> done",
            ]
        );
        assert_eq!(story["deliveries"]["total"], 4);
        assert_eq!(story["answer"]["status"], 201);
        assert_eq!(story["answer"]["bytes"], 4);
        assert!(!story.to_string().contains("made"), "no body in the story");
        gateway.finish().await;
    });
}

#[test]
fn with_a_token_set_only_health_is_open() {
    run(async {
        let settings = stripe("guarded", &nowhere().await, "");
        let server = "admin_token = \"a-token-of-22-letters.\"";
        let gateway = Gateway::start_with(server, &settings, |_| {}).await;
        for (path, open) in [
            ("/healthz", 200),
            ("/readyz", 200),
            ("/metrics", 401),
            ("/api/v1/events/guarded/evt_1", 401),
        ] {
            assert_eq!(gateway.get(path).await.status, open, "{path}");
        }
        let ask = async |value: &str| {
            gateway.ask("GET", "/metrics", "").header("authorization", value).send().await
        };
        for wrong in ["", "Bearer", "Bearer ", "Bearer a-token", "Basic a-token-of-22-letters."] {
            let answer = ask(wrong).await;
            assert_eq!(answer.status, 401, "{wrong}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        assert_eq!(ask("Bearer a-token-of-22-letters.").await.status, 200);
        // The scheme of RFC 9110 is not case-sensitive.
        assert_eq!(ask("bearer a-token-of-22-letters.").await.status, 200);
        gateway.finish().await;
    });
}

#[test]
fn what_is_public_shows_nothing_private() {
    run(async {
        let gateway = Gateway::start(&stripe("private", &nowhere().await, "")).await;
        for path in ["/metrics", "/healthz", "/readyz", "/api/v1/events/private/evt_1"] {
            let answer = Request::new(gateway.public, path, Vec::new()).send().await;
            assert_eq!(answer.told(), (404, "not_found"), "{path}");
        }
        gateway.finish().await;
    });
}
