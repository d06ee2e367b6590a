//! Asks a Sigil server one question: check SERVER ACTION TARGET.
//!
//! Exit code 0: allowed. 1: denied, or in review. 2: no answer, which is a deny too.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fmt};

use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::transport::{Endpoint, Uri};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use contracts::sigil::trust::v1::trust_service_client::TrustServiceClient;
use contracts::sigil::trust::v1::{CheckRequest, CheckResponse};
use contracts::sigil::r#type::v1::Verdict;

mod contracts {
    tonic::include_proto!("contracts");
}

const DEADLINE: Duration = Duration::from_secs(10);

/// Whether a decision permits the action. Errors if it contradicts itself, or comes without the id of its record.
fn permits(decision: &CheckResponse) -> Result<bool, &'static str> {
    match (decision.allowed, decision.verdict(), decision.audit_id.is_empty()) {
        (true, Verdict::Allow, false) => Ok(true),
        (false, Verdict::Deny | Verdict::Review, false) => Ok(false),
        _ => Err("the reply contradicts itself"),
    }
}

/// Without TLS a token is sent to this machine only.
fn is_this_machine(server: &Uri) -> bool {
    server.host().is_some_and(|host| ["127.0.0.1", "[::1]", "localhost"].contains(&host))
}

async fn check(server: &str, question: CheckRequest) -> Result<CheckResponse, Box<dyn Error>> {
    let server: Uri = format!("http://{server}").parse()?;
    let mut request = Request::new(question);
    request.set_timeout(DEADLINE);
    if let Some(token) = env::var_os("CHECK_TOKEN") {
        if !is_this_machine(&server) {
            return Err("a token is not sent to another machine without TLS".into());
        }
        let token = token.to_str().ok_or("CHECK_TOKEN must be text")?;
        let mut credentials = MetadataValue::try_from(format!("Bearer {token}"))?;
        credentials.set_sensitive(true);
        request.metadata_mut().insert("authorization", credentials);
    }
    let channel = Endpoint::from(server).connect_timeout(DEADLINE).connect_lazy();
    // The request's own timeout covers what comes before the message, and not a reply that never ends.
    let mut service = TrustServiceClient::new(channel);
    let reply = timeout(DEADLINE, service.check(request)).await;
    Ok(reply.unwrap_or_else(|_| Err(Status::deadline_exceeded("")))?.into_inner())
}

/// The code, the reason and which fields were refused.
struct Refusal<'a>(&'a Status);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = self.0.get_error_details();
        write!(formatter, "{:?}", self.0.code())?;
        if let Some(info) = details.error_info() {
            write!(formatter, " {}", info.reason)?;
        }
        for violation in details.bad_request().iter().flat_map(|request| &request.field_violations) {
            write!(formatter, "\n{}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

async fn ask(words: Vec<OsString>) -> Result<bool, Box<dyn Error>> {
    let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let &[server, action, target] = words.as_slice() else {
        return Err("usage: check SERVER ACTION TARGET".into());
    };
    let question = CheckRequest { action: action.into(), target: target.into(), ..Default::default() };
    let decision = check(server, question).await?;
    let is_allowed = permits(&decision)?;
    let verdict = decision.verdict().as_str_name();
    writeln!(io::stdout(), "{verdict} {} {}", decision.reason, decision.audit_id)?;
    Ok(is_allowed)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match ask(env::args_os().skip(1).collect()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            match error.downcast_ref::<Status>() {
                Some(status) => eprintln!("no answer: {}", Refusal(status)),
                None => eprintln!("no answer: {error}"),
            }
            ExitCode::from(2)
        }
    }
}
