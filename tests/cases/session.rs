//! One session id over a thousand calls.

use anyhow::Result;
use harness::sipp::Transport;
use harness::{Backend, Call, Proxy, ladder};
use serde_json::json;

use crate::stage::Stage;

const CALLS: u32 = 1_000;
const OTHERS: u32 = 50;

/// Over TCP, since there nobody sends a message twice and the count is exact.
#[test]
fn a_thousand_calls_are_found_by_their_session_and_no_other_is() -> Result<()> {
    let stage =
        Stage::with(Backend::start()?, Transport::Tcp, |setup| setup.session("untagged").hep_over_tcp())?;
    let proxy = stage.proxy.sip();
    let tcp = Transport::Tcp;
    std::thread::scope(|scope| -> Result<()> {
        let untagged = scope.spawn(move || Call::new("call").times(OTHERS, 5).place(proxy, tcp));
        let other =
            scope.spawn(move || Call::new("call").session("other").times(OTHERS, 5).place(proxy, tcp));
        Call::new("call").session("thousand").times(CALLS, 80).place(proxy, tcp)?;
        for thread in [untagged, other] {
            thread.join().unwrap()?;
        }
        Ok(())
    })?;

    let messages = ladder::expected("call")?.len() as u64;
    for (id, calls) in [("thousand", CALLS), ("other", OTHERS), ("untagged", OTHERS)]
        .map(|(id, calls)| (id, u64::from(calls)))
    {
        let session = stage.backend.session(id, calls * messages)?;
        assert_eq!(session["messages"], calls * messages, "{session}");
        assert_eq!(session["calls"], calls);
        assert_eq!(session["outcomes"], json!({"answered": calls}));

        let listed = stage.backend.api().all(&format!("/api/v1/sessions/{id}/calls?limit=300"))?;
        assert_eq!(listed.len() as u64, calls);
        let mut ids: Vec<_> = listed.iter().filter_map(|call| call["call_id"].as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len() as u64, calls);
        assert!(
            listed.iter().all(|call| call["message_count"] == messages),
            "a call has more or fewer messages"
        );
        assert!(
            listed.iter().all(|call| call["correlation_ids"] == json!([id])),
            "a call of another session"
        );
    }
    Ok(())
}
