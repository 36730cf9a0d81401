local other = "MESSAGE sip:x@h SIP/2.0\r\nCall-ID: other\r\n\r\n"

local calls = {
    trace = function() KSR.siplens.sip_trace() end,
    trace_dst = function() KSR.siplens.sip_trace_dst("") end,
    trace_cid = function() KSR.siplens.sip_trace_dst_cid("", "cid of " .. KSR.pv.get("$fU")) end,
    trace_t = function() KSR.siplens.sip_trace_dst_cid_type("", "transaction", "t") end,
    trace_d = function() KSR.siplens.sip_trace_dst_cid_type("", "dialog", "d") end,
    trace_bad = function()
        KSR.siplens.sip_trace_dst_cid_type("garbage", "", "m")
        KSR.siplens.sip_trace_dst_cid_type("", "", "x")
    end,
    mode = function() KSR.siplens.sip_trace_mode("t") end,
    msg = function()
        KSR.siplens.sip_trace_msg(other, "udp:127.0.0.1:5062", "tcp:127.0.0.1:5064", "", "msg-id")
    end,
    msg_here = function() KSR.siplens.sip_trace_msg("no SIP", "", "", "", "") end,
    hlog = function() KSR.siplens.hlog("a line") end,
    hlog_cid = function() KSR.siplens.hlog_cid("of-its-own", "another line") end,
}

function ksr_request_route()
    local call = calls[KSR.pv.get("$rU")]
    if call then call() end
    if KSR.hdr.is_present("X-Trace") > 0 then KSR.siplens.sip_trace() end
    KSR.sl.sl_send_reply(200, "is " .. KSR.pv.gete("$siplens(mode)") .. " " .. KSR.pv.gete("$siplens(id)"))
end

-- What would be captured of "hidden" is dropped.
function ksr_siplens_msg(event)
    KSR.siplens.hlog("not from here")
    if KSR.pv.get("$tU") == "hidden" then KSR.set_drop() end
end
