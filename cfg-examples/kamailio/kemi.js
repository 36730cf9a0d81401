// The routing logic for kemi.cfg in JavaScript (module app_jsdt). kemi.lua and kemi.py do the same.

// What the configuration defines; a text comes with its quotes.
function defined(name) {
    return KSR.kx.get_def(name).replace(/"/g, "");
}

function ksr_request_route() {
    var method = KSR.pv.get("$rm");
    var inDialog = KSR.siputils.has_totag() > 0;

    // The whole dialog, for the collector and under the id of the parameters. An empty argument counts as not given:
    // KSR.siplens.sip_trace_dst_cid_type("", "my-id", "d") is the same with an id of the script's own.
    if (!inDialog && (method === "INVITE" || method === "SUBSCRIBE")) {
        KSR.siplens.sip_trace_mode("d");
        KSR.siplens.hlog("call from " + KSR.pv.get("$fu") + ", session " + KSR.pv.get("$siplens(id)"));
    }
    if (method === "OPTIONS" && KSR.is_myself_ruri() && KSR.pv.is_null("$rU")) {
        KSR.sl.sl_send_reply(200, "OK");
        return;
    }
    if (method === "CANCEL") {
        if (KSR.tm.t_check_trans() > 0) KSR.tm.t_relay();
        return;
    }
    if (inDialog) {
        if (KSR.rr.loose_route() < 0) {
            // The ACK of a final reply that is no 2xx belongs to its transaction.
            if (method === "ACK" && KSR.tm.t_check_trans() > 0) {
                KSR.tm.t_relay();
                return;
            }
            if (!KSR.is_myself_ruri()) {
                KSR.sl.sl_send_reply(404, "Not Here");
                return;
            }
            KSR.pv.sets("$du", defined("RELAY_TO"));
        }
    } else {
        if (method === "INVITE" || method === "SUBSCRIBE") KSR.rr.record_route();
        KSR.pv.sets("$du", defined("RELAY_TO"));
        KSR.tm.t_on_failure("ksr_failure_route");
    }
    if (KSR.tm.t_relay() < 0) KSR.sl.sl_reply_error();
}

function ksr_failure_route() {
    KSR.siplens.hlog("failed with " + KSR.pv.get("$T_reply_code"));
}

// Runs for each message that would be captured; probes are not worth it.
function ksr_siplens_msg(event) {
    if (KSR.pv.get("$rm") === "OPTIONS") KSR.set_drop();
}
