function ksr_request_route() {
    var siplens = KSR.siplens;
    switch (KSR.pv.get("$rU")) {
        case "trace":
            siplens.sip_trace();
            break;
        case "trace_dst":
            siplens.sip_trace_dst("");
            break;
        case "trace_cid":
            siplens.sip_trace_dst_cid("", "cid of " + KSR.pv.get("$fU"));
            break;
        case "trace_t":
            siplens.sip_trace_dst_cid_type("", "transaction", "t");
            break;
        case "trace_d":
            siplens.sip_trace_dst_cid_type("", "dialog", "d");
            break;
        case "trace_bad":
            siplens.sip_trace_dst_cid_type("garbage", "", "m");
            siplens.sip_trace_dst_cid_type("", "", "x");
            break;
        case "mode":
            siplens.sip_trace_mode("t");
            break;
        case "msg":
            siplens.sip_trace_msg("MESSAGE sip:x@h SIP/2.0\r\nCall-ID: other\r\n\r\n", "udp:127.0.0.1:5062", "tcp:127.0.0.1:5064", "", "msg-id");
            break;
        case "msg_here":
            siplens.sip_trace_msg("no SIP", "", "", "", "");
            break;
        case "hlog":
            siplens.hlog("a line");
            break;
        case "hlog_cid":
            siplens.hlog_cid("of-its-own", "another line");
            break;
    }
    if (KSR.hdr.is_present("X-Trace") > 0) KSR.siplens.sip_trace();
    KSR.sl.sl_send_reply(200, "is " + KSR.pv.gete("$siplens(mode)") + " " + KSR.pv.gete("$siplens(id)"));
}

// What would be captured of "hidden" is dropped.
function ksr_siplens_msg(event) {
    KSR.siplens.hlog("not from here");
    if (KSR.pv.get("$tU") === "hidden") KSR.set_drop();
}
