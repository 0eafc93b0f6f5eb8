//! The request handler: authenticate, read, filter by what the reader may see, encode.

use std::convert::Infallible;
use std::sync::Arc;

use http::StatusCode;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt as _, Response};
use pinlake_env::Env;
use pinlake_lake::{Lake, QuarantinedRecord};
use pinlake_platform::access::Access;
use pinlake_report::State;
use pinlake_results::QueryResult;
use pinlake_results::store::ResultStoreError;
use pinlake_schema::Catalog;
use pinlake_state::CommitCache;
use serde_json::{Value, json};

use crate::cache::Cached;
use crate::error::ReportError;
use crate::openapi;
use crate::page::{self, Content};
use crate::quarantine::{self, MAX_RECORDS};
use crate::reader::{COOKIE_NAME, COOKIE_SECONDS, Reader, signed_in_key};
use crate::response::{self, Answer, Freshness};
use crate::results::{self, Format, Loaded};
use crate::route::{self, Route};

/// Rows of one answer with a result; a result has no more.
const MAX_ROWS: usize = 100_000;
/// Quarantined records of one answer, unless `limit` says otherwise.
const DEFAULT_RECORDS: usize = 50;

/// What happened to a request, for logs and metrics. It is in the extensions of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSummary {
    /// The HTTP status of the response.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// The name of the caller's API key.
    pub caller: Option<String>,
    /// Lambda's id of the request.
    pub request_id: Option<String>,
    /// The code of the error, if the request failed.
    pub error: Option<&'static str>,
}

/// The function and its dependencies.
#[derive(Debug)]
pub struct App {
    lake: Lake,
    catalog: Arc<Catalog>,
    access: Access,
    title: String,
    name: String,
    objective: Option<u32>,
    env: Env,
    latest: Cached<Loaded>,
    commits: CommitCache,
    state: Cached<State>,
    records: Cached<Vec<QuarantinedRecord>>,
}

impl App {
    /// The function over a lake. `title` is the title of the page, `name` what it calls the lake.
    pub fn new(
        lake: Lake,
        catalog: Arc<Catalog>,
        access: Access,
        title: String,
        name: String,
        env: Env,
    ) -> Self {
        let (latest, state, records) = (Cached::default(), Cached::default(), Cached::default());
        let commits = CommitCache::default();
        Self { lake, catalog, access, title, name, objective: None, env, latest, commits, state, records }
    }

    /// Takes over other contracts. What was read under the former ones is read again.
    pub fn deploy(&mut self, catalog: Arc<Catalog>, access: Access) {
        (self.catalog, self.access) = (catalog, access);
        (self.latest, self.state, self.records) = (Cached::default(), Cached::default(), Cached::default());
    }

    /// Tells when rows wait for longer than `seconds`.
    #[must_use]
    pub fn with_objective(mut self, seconds: Option<u32>) -> Self {
        self.objective = seconds;
        self
    }

    /// Serves a request. The extensions of the response have a [`RequestSummary`].
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let request_id = request_id(&request);
        let mut caller = None;
        let (mut response, error) = match self.serve(&request, &mut caller).await {
            Ok(response) => (response, None),
            Err(error) => {
                let id = request_id.as_deref().unwrap_or_default();
                (response::encode_error(&request, &error, id), Some(error.code()))
            }
        };
        let (status, bytes) = (response.status().as_u16(), response.body().len() as u64);
        response.extensions_mut().insert(RequestSummary { status, bytes, caller, request_id, error });
        response
    }

    async fn serve(
        &self,
        request: &Request,
        caller: &mut Option<String>,
    ) -> Result<Response<Body>, ReportError> {
        let route = Route::from_request(request)?;
        match route {
            Route::Document => {
                return Ok(response::encode(request, Answer::new("application/json", openapi::DOCUMENT)));
            }
            Route::SignIn => return self.sign_in(request),
            _ => {}
        }
        let reader = match Reader::authenticate(&self.access, request) {
            Ok(reader) => reader,
            // A person gets a page, and a program an error.
            Err(ReportError::Unauthenticated) if route == Route::Page => {
                let page = Answer::page(pinlake_report::sign_in(false), "'self'");
                return Ok(response::encode(request, page.with_status(StatusCode::UNAUTHORIZED)));
            }
            Err(error) => return Err(error),
        };
        *caller = reader.key_name().map(str::to_owned);
        let answer = match route {
            Route::Page => self.page(request, reader).await?,
            Route::Results => self.list_results(request, reader).await?,
            Route::Result(name) => self.result(request, reader, &name).await?,
            Route::History(name) => self.history(reader, &name).await?,
            Route::State => self.state(reader).await,
            Route::Quarantine => self.quarantine(request, reader).await?,
            Route::Document | Route::SignIn => Answer::json(&Value::Null),
        };
        Ok(response::encode(request, answer))
    }

    /// Puts the key of the form into a cookie.
    fn sign_in(&self, request: &Request) -> Result<Response<Body>, ReportError> {
        let Access::Keys(keys) = &self.access else {
            let hint = "this report takes no API keys";
            return Err(ReportError::NotFound { kind: "path", name: "/sign-in".to_owned(), hint });
        };
        Ok(match signed_in_key(keys, request) {
            Some(key) => {
                let attributes = "HttpOnly; Secure; SameSite=Strict; Path=/";
                let cookie = format!("{COOKIE_NAME}={key}; Max-Age={COOKIE_SECONDS}; {attributes}");
                response::redirect(request, &cookie)
            }
            None => {
                let page = Answer::page(pinlake_report::sign_in(true), "'self'");
                response::encode(request, page.with_status(StatusCode::UNAUTHORIZED))
            }
        })
    }

    async fn page(&self, request: &Request, reader: Reader<'_>) -> Result<Answer, ReportError> {
        let latest = self.load(None).await?;
        let shown = match route::parameter(request, "run") {
            Some(run) => self.load(Some(&run)).await?,
            None => latest.clone(),
        };
        let (at, state) = self.read_state().await;
        // A page without them is better than none.
        let records = match reader.may_see_some_records() {
            false => None,
            true => Some(self.newest_records().await.map(|records| {
                let visible =
                    records.iter().filter(|record| reader.may_see_records(record.dataset.as_deref()));
                visible.cloned().collect::<Vec<_>>()
            })),
        };
        let html = page::render(
            Content {
                title: &self.title,
                lake: &self.name,
                loaded: &shown,
                runs: &latest.runs(),
                state: visible_state(&state, reader),
                at,
                objective: self.objective,
                records: records.as_ref().and_then(|records| records.as_deref().ok()),
            },
            reader,
        );
        Ok(Answer::page(html, "'none'"))
    }

    async fn list_results(&self, request: &Request, reader: Reader<'_>) -> Result<Answer, ReportError> {
        let loaded = self.load(route::parameter(request, "run").as_deref()).await?;
        let visible = loaded.results.iter().filter(|(_, stored)| reader.may_see_result(stored));
        let listed: Vec<Value> = visible.map(|(name, stored)| results::summarize(name, stored)).collect();
        Ok(Answer::json(&json!({
            "run": loaded.run,
            "computed_at": loaded.run.as_deref().and_then(results::computed_at),
            "results": listed,
        })))
    }

    async fn result(&self, request: &Request, reader: Reader<'_>, path: &str) -> Result<Answer, ReportError> {
        let run = route::parameter(request, "run");
        let loaded = self.load(run.as_deref()).await?;
        let visible = |name: &str| loaded.results.get(name).filter(|stored| reader.may_see_result(stored));
        let (name, ending) = match visible(path) {
            Some(_) => (path, None),
            None => Format::split(path),
        };
        let stored = visible(name).ok_or_else(|| no_result(name))?;
        let offset = route::number(request, "offset", 0..=MAX_ROWS, 0)?;
        let limit = route::number(request, "limit", 1..=MAX_ROWS, MAX_ROWS)?;
        let format = ending.unwrap_or_else(|| Format::from_accept(request.headers()));
        let body = match format {
            Format::Json => {
                let id = loaded.run.as_deref().unwrap_or_default();
                results::to_json(id, name, stored, offset, limit).to_string().into_bytes()
            }
            Format::Csv | Format::Parquet => {
                let QueryResult { columns, rows, versions, moved } = &stored.result;
                let part = QueryResult {
                    columns: columns.clone(),
                    rows: rows.iter().skip(offset).take(limit).cloned().collect(),
                    versions: versions.clone(),
                    moved: moved.clone(),
                };
                match format {
                    Format::Csv => part.render_csv().into_bytes(),
                    _ => part.encode_parquet().map_err(|error| {
                        tracing::warn!(%error, "a result cannot be encoded as Parquet");
                        let problem = "Parquet cannot hold this result: ask for JSON or CSV";
                        ReportError::InvalidArgument(problem.to_owned())
                    })?,
                }
            }
        };
        let mut answer = Answer::new(format.content_type(), body);
        answer.freshness = if run.is_some() { Freshness::Final } else { Freshness::Revalidate };
        answer.file = ending.map(|_| path.to_owned()).filter(|_| format != Format::Json);
        Ok(answer)
    }

    async fn history(&self, reader: Reader<'_>, name: &str) -> Result<Answer, ReportError> {
        let loaded = self.load(None).await?;
        let stored = loaded.results.get(name).filter(|stored| reader.may_see_result(stored));
        stored.ok_or_else(|| no_result(name))?;
        let history = loaded.history.get(name).map(Vec::as_slice).unwrap_or_default();
        Ok(Answer::json(&results::history_to_json(name, history)))
    }

    async fn state(&self, reader: Reader<'_>) -> Answer {
        let (at, state) = self.read_state().await;
        let state = visible_state(&state, reader);
        let mut body = json!({
            "lake": self.name,
            "at": at.to_rfc3339(),
            "freshness_objective_seconds": self.objective,
        });
        let described = serde_json::to_value(&state).unwrap_or_default();
        let version = State { cost: None, ..state };
        let version = serde_json::to_vec(&version).unwrap_or_default();
        if let (Value::Object(body), Value::Object(members)) = (&mut body, described) {
            body.extend(members);
        }
        // Another time of reading is no other state, nor is a cost that grows with it.
        Answer { version: Some(version), ..Answer::json(&body) }
    }

    async fn quarantine(&self, request: &Request, reader: Reader<'_>) -> Result<Answer, ReportError> {
        let dataset = route::parameter(request, "dataset");
        let limit = route::number(request, "limit", 1..=MAX_RECORDS, DEFAULT_RECORDS)?;
        if !reader.may_see_some_records() {
            return Err(ReportError::AccessDenied(
                "quarantined records are what clients sent: this needs an API key or a signature, and the URL has neither",
            ));
        }
        if let Some(dataset) = &dataset {
            if !reader.may_see_records(Some(dataset)) {
                return Err(ReportError::AccessDenied("this API key does not grant access to the dataset"));
            }
            if self.catalog.contract(dataset).is_none() {
                let hint = "GET /v1/state lists the datasets";
                return Err(ReportError::NotFound { kind: "dataset", name: route::shorten(dataset), hint });
            }
        }
        let is_selected = |of: Option<&str>| match &dataset {
            Some(dataset) => of == Some(dataset),
            None => reader.may_see_records(of),
        };
        let records = self.lake.list_quarantined(&self.catalog, is_selected, limit).await;
        let records = records.map_err(|error| {
            tracing::error!(%error, "quarantine cannot be read");
            ReportError::Unavailable("the quarantine")
        })?;
        let records: Vec<Value> = records.iter().map(quarantine::to_json).collect();
        Ok(Answer::json(&json!({ "records": records })))
    }

    /// A run, or the latest.
    async fn load(&self, run: Option<&str>) -> Result<Arc<Loaded>, ReportError> {
        let loaded = match run {
            Some(run) => results::load(&self.lake, Some(run)).await.map(Arc::new),
            None => {
                let read = results::load(&self.lake, None);
                self.latest.get(&*self.env.clock, read).await.map(|(_, loaded)| loaded)
            }
        };
        loaded.map_err(|error| match (error, run) {
            (ResultStoreError::NotFound(_), Some(run)) => {
                let hint = "GET /v1/results/{name}/history lists the runs";
                ReportError::NotFound { kind: "run", name: route::shorten(run), hint }
            }
            (error, _) => {
                tracing::error!(%error, "results cannot be read");
                ReportError::Unavailable("the stored results")
            }
        })
    }

    async fn read_state(&self) -> (chrono::DateTime<chrono::Utc>, Arc<State>) {
        let now = self.env.clock.now();
        let read = async {
            Ok::<_, Infallible>(pinlake_state::collect(&self.lake, &self.catalog, now, &self.commits).await)
        };
        let Ok(read) = self.state.get(&*self.env.clock, read).await;
        read
    }

    /// The newest records of all datasets, for the page.
    async fn newest_records(&self) -> Result<Arc<Vec<QuarantinedRecord>>, ReportError> {
        let read = self.lake.list_quarantined(&self.catalog, |_| true, MAX_RECORDS);
        let records = self.records.get(&*self.env.clock, read).await;
        records.map(|(_, records)| records).map_err(|error| {
            tracing::error!(%error, "quarantine cannot be read");
            ReportError::Unavailable("the quarantine")
        })
    }
}

fn no_result(name: &str) -> ReportError {
    let hint = "GET /v1/results lists the results";
    ReportError::NotFound { kind: "result", name: route::shorten(name), hint }
}

/// The state of the datasets that a reader may see.
fn visible_state(state: &State, reader: Reader<'_>) -> State {
    let mut visible = state.clone();
    visible.datasets.retain(|dataset| reader.may_see(Some(&dataset.dataset)));
    if !reader.may_see(None) {
        visible.unrouted.clear();
        visible.unrouted_by_day.clear();
        // It is that of all datasets.
        visible.cost = None;
    }
    visible
}

/// Lambda's id of the request.
fn request_id(request: &Request) -> Option<String> {
    let invocation = request.lambda_context_ref().map(|context| context.request_id.as_str());
    let http = || match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    };
    invocation.filter(|id| !id.is_empty()).or_else(http).map(str::to_owned)
}
