//! Access with keys, cookies and signatures, and what each reader may see.

use pinlake_platform::access::Access;
use pinlake_platform::api_keys::{ApiKeys, entry};
use pinlake_schema::Catalog;
use serde_json::{Value, json};

use crate::{ATTACK, World, body_json, get, header, request, text};

const ALL: &str = "plk_all";
const USERS: &str = "plk_users";

fn keys() -> Access {
    let entries = [entry("all", ALL, &[]), entry("users", USERS, &["user".to_owned()])].join(",");
    Access::Keys(ApiKeys::parse(&entries, &Catalog::embedded().unwrap()).unwrap())
}

const PATHS: [&str; 5] =
    ["/v1/results", "/v1/results/users", "/v1/results/users/history", "/v1/state", "/v1/quarantine"];

#[tokio::test]
async fn without_a_valid_key_nothing_is_shown() {
    let app = World::filled().await.app(keys());
    for headers in
        [&[][..], &[("x-api-key", "plk_other")], &[("cookie", "pinlake_key=plk_other")], &[("x-api-key", "")]]
    {
        for path in PATHS {
            let response = app.handle(request("GET", path, headers, "")).await;
            assert_eq!(response.status(), 401, "{path} {headers:?}");
            assert!(header(&response, "www-authenticate").is_some());
            assert_eq!(body_json(&response)["error"], "unauthenticated");
        }
        let page = app.handle(request("GET", "/", headers, "")).await;
        assert_eq!(page.status(), 401);
        assert!(text(&page).contains("type=\"password\"") && !text(&page).contains("posts"));
        let policy = header(&page, "content-security-policy").unwrap();
        assert!(policy.contains("form-action 'self'"), "{policy}");
    }
    assert_eq!(get(&app, "/openapi.json").await.status(), 200, "the document is public");
}

#[tokio::test]
async fn a_key_in_a_header_or_a_cookie_shows_the_report() {
    let app = World::filled().await.app(keys());
    let cookie = format!("other=1; pinlake_key={ALL}");
    let bearer = format!("Bearer {ALL}");
    for headers in [[("x-api-key", ALL)], [("authorization", &*bearer)], [("cookie", &*cookie)]] {
        for path in PATHS.iter().chain(&["/"]) {
            let response = app.handle(request("GET", path, &headers, "")).await;
            assert_eq!(response.status(), 200, "{path} {headers:?}");
        }
    }
    // A header counts more than a cookie: a program's wrong key is not hidden by a browser's right one.
    let both = [("x-api-key", "plk_other"), ("cookie", &*cookie)];
    assert_eq!(app.handle(request("GET", "/v1/state", &both, "")).await.status(), 401);
}

#[tokio::test]
async fn people_sign_in_with_a_key() {
    let app = World::filled().await.app(keys());
    let sent = |body: &str| {
        request("POST", "/sign-in", &[("content-type", "application/x-www-form-urlencoded")], body)
    };
    let response = app.handle(sent(&format!("key={ALL}"))).await;
    assert_eq!((response.status().as_u16(), header(&response, "location")), (303, Some("./")));
    let cookie = header(&response, "set-cookie").unwrap();
    for attribute in [&format!("pinlake_key={ALL};")[..], "HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(app.handle(request("GET", "/", &[("cookie", pair)], "")).await.status(), 200);
    for wrong in ["key=plk_other", "key=", "", "key=%0d%0aset-cookie:x", "other=1"] {
        let response = app.handle(sent(wrong)).await;
        assert_eq!((response.status().as_u16(), header(&response, "set-cookie")), (401, None), "{wrong}");
        assert!(text(&response).contains("not valid here"), "{wrong}");
    }
    assert_eq!(app.handle(request("GET", "/sign-in", &[], "")).await.status(), 405);
    let open = World::filled().await.app(Access::Anyone);
    assert_eq!(open.handle(sent("key=x")).await.status(), 404);
}

#[tokio::test]
async fn a_key_of_a_dataset_shows_what_belongs_to_it() {
    let app = World::filled().await.app(keys());
    let ask = async |path: &str| app.handle(request("GET", path, &[("x-api-key", USERS)], "")).await;
    let names = |body: &Value, list: &str, name: &str| -> Vec<String> {
        body[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found[name].as_str().unwrap_or("none").to_owned())
            .collect()
    };
    assert_eq!(names(&body_json(&ask("/v1/results").await), "results", "name"), ["users"]);
    for (path, status) in [
        ("/v1/results/users", 200),
        ("/v1/results/posts", 404),
        ("/v1/results/posts.csv", 404),
        ("/v1/results/posts/history", 404),
        ("/v1/quarantine?dataset=user", 200),
        ("/v1/quarantine?dataset=pin", 403),
        ("/v1/quarantine?dataset=nosuch", 403),
    ] {
        assert_eq!(ask(path).await.status(), status, "{path}");
    }
    let state = body_json(&ask("/v1/state").await);
    assert_eq!(names(&state, "datasets", "dataset"), ["user"]);
    assert_eq!(state["unrouted"], json!({}));
    assert_eq!(names(&body_json(&ask("/v1/quarantine").await), "records", "dataset"), ["user"]);
    let page = ask("/").await;
    assert!(
        !text(&page).contains("Where do posts come from?") && text(&page).contains("data-result=\"users\"")
    );
    // Both its own record and no other.
    assert!(text(&page).contains("&lt;/script&gt;") && !text(&page).contains(ATTACK));
    assert!(!text(&page).contains("&quot;run&quot;"));
}

#[tokio::test]
async fn quarantined_records_need_a_key_or_a_signature() {
    let world = World::filled().await;
    let open = world.app(Access::Anyone);
    let refused = get(&open, "/v1/quarantine").await;
    assert_eq!((refused.status().as_u16(), &body_json(&refused)["error"]), (403, &json!("access_denied")));
    let page = get(&open, "/").await;
    // As text of a cell, or in the data of the page.
    for raw in ["ind&quot;: 2", "ind\\\": 2"] {
        assert!(!text(&page).contains(raw), "the page of an open URL has none either");
    }

    let app = world.app(keys());
    let ask = async |path: &str| app.handle(request("GET", path, &[("x-api-key", ALL)], "")).await;
    let records = body_json(&ask("/v1/quarantine").await);
    assert_eq!(records["records"].as_array().unwrap().len(), 2);
    let of_user = body_json(&ask("/v1/quarantine?dataset=user&limit=1").await);
    let record = &of_user["records"][0];
    assert_eq!((&record["reason"], &record["raw_base64"]), (&json!("wrong_type"), &Value::Null));
    assert!(record["raw"].as_str().unwrap().contains(ATTACK), "unchanged, for programs");
    for (path, status) in [
        ("/v1/quarantine?dataset=nosuch", 404),
        ("/v1/quarantine?limit=0", 400),
        ("/v1/quarantine?limit=201", 400),
        ("/v1/quarantine?limit=x", 400),
    ] {
        assert_eq!(ask(path).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_url_with_iam_accepts_only_what_lambda_has_authenticated() {
    let app = World::filled().await.app(Access::Signed);
    for path in PATHS.iter().chain(&["/"]) {
        let response = app.handle(request("GET", path, &[("x-api-key", ALL)], "")).await;
        assert_eq!(
            (response.status().as_u16(), &body_json(&response)["error"]),
            (403, &json!("unsigned")),
            "{path}"
        );
    }
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/report_page.json");
    let mut event: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    event["rawPath"] = json!("/v1/quarantine");
    event["requestContext"]["authorizer"] = json!({ "iam": { "userId": "AIDAONE" } });
    let signed = lambda_http::request::from_str(&event.to_string()).unwrap();
    assert_eq!(app.handle(signed).await.status(), 200);
}
