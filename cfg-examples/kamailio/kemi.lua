-- The routing logic for kemi.cfg in Lua (module app_lua, package kamailio-lua-modules). kemi.js and kemi.py do the same.

-- What the configuration defines; a text comes with its quotes.
local function defined(name)
    return (KSR.kx.get_def(name):gsub('"', ""))
end

function ksr_request_route()
    local method = KSR.pv.get("$rm")
    local in_dialog = KSR.siputils.has_totag() > 0
    local opens_dialog = not in_dialog and (method == "INVITE" or method == "SUBSCRIBE")

    -- The whole dialog, for the collector and under the id of the parameters. An empty argument counts as not given:
    -- KSR.siplens.sip_trace_dst_cid_type("", "my-id", "d") is the same with an id of the script's own.
    if opens_dialog then
        KSR.siplens.sip_trace_mode("d")
        KSR.siplens.hlog("call from " .. KSR.pv.get("$fu") .. ", session " .. KSR.pv.get("$siplens(id)"))
    end
    if method == "OPTIONS" and KSR.is_myself_ruri() and KSR.pv.is_null("$rU") then
        KSR.sl.sl_send_reply(200, "OK")
        return
    end
    if method == "CANCEL" then
        if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
        return
    end
    if in_dialog then
        if KSR.rr.loose_route() < 0 then
            -- The ACK of a final reply that is no 2xx belongs to its transaction.
            if method == "ACK" and KSR.tm.t_check_trans() > 0 then
                KSR.tm.t_relay()
                return
            end
            if not KSR.is_myself_ruri() then
                KSR.sl.sl_send_reply(404, "Not Here")
                return
            end
            KSR.pv.sets("$du", defined("RELAY_TO"))
        end
    else
        if opens_dialog then KSR.rr.record_route() end
        KSR.pv.sets("$du", defined("RELAY_TO"))
        KSR.tm.t_on_failure("ksr_failure_route")
    end
    if KSR.tm.t_relay() < 0 then KSR.sl.sl_reply_error() end
end

function ksr_failure_route()
    KSR.siplens.hlog("failed with " .. KSR.pv.get("$T_reply_code"))
end

-- Runs for each message that would be captured; probes are not worth it.
function ksr_siplens_msg(event)
    if KSR.pv.get("$rm") == "OPTIONS" then KSR.set_drop() end
end
