import KSR as KSR

OTHER = "MESSAGE sip:x@h SIP/2.0\r\nCall-ID: other\r\n\r\n"


def trace_bad():
    KSR.siplens.sip_trace_dst_cid_type("garbage", "", "m")
    KSR.siplens.sip_trace_dst_cid_type("", "", "x")


CALLS = {
    "trace": lambda: KSR.siplens.sip_trace(),
    "trace_dst": lambda: KSR.siplens.sip_trace_dst(""),
    "trace_cid": lambda: KSR.siplens.sip_trace_dst_cid("", "cid of " + KSR.pv.get("$fU")),
    "trace_t": lambda: KSR.siplens.sip_trace_dst_cid_type("", "transaction", "t"),
    "trace_d": lambda: KSR.siplens.sip_trace_dst_cid_type("", "dialog", "d"),
    "trace_bad": trace_bad,
    "mode": lambda: KSR.siplens.sip_trace_mode("t"),
    "msg": lambda: KSR.siplens.sip_trace_msg(
        OTHER, "udp:127.0.0.1:5062", "tcp:127.0.0.1:5064", "", "msg-id"
    ),
    "msg_here": lambda: KSR.siplens.sip_trace_msg("no SIP", "", "", "", ""),
    "hlog": lambda: KSR.siplens.hlog("a line"),
    "hlog_cid": lambda: KSR.siplens.hlog_cid("of-its-own", "another line"),
}


class Script:
    def child_init(self, rank):
        return 0

    def ksr_request_route(self, msg):
        call = CALLS.get(KSR.pv.get("$rU"))
        if call:
            call()
        if KSR.hdr.is_present("X-Trace") > 0:
            KSR.siplens.sip_trace()
        KSR.sl.sl_send_reply(
            200, "is " + KSR.pv.gete("$siplens(mode)") + " " + KSR.pv.gete("$siplens(id)")
        )
        return 1

    # What would be captured of "hidden" is dropped.
    def ksr_siplens_msg(self, msg, event):
        KSR.siplens.hlog("not from here")
        if KSR.pv.get("$tU") == "hidden":
            KSR.set_drop()
        return 1

    # Kamailio 5.6 looks for these two whenever a message comes or goes.
    def ksr_reply_route(self, msg):
        return 1

    def ksr_onsend_route(self, msg):
        return 1


def mod_init():
    return Script()
