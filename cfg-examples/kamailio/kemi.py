# The routing logic for kemi.cfg in Python (module app_python3, package kamailio-python3-modules). kemi.js and kemi.lua do
# the same.
import KSR as KSR


def defined(name):
    """What the configuration defines; a text comes with its quotes."""
    return KSR.kx.get_def(name).replace('"', "")


class Routes:
    def child_init(self, rank):
        return 0

    def ksr_request_route(self, msg):
        method = KSR.pv.get("$rm")
        in_dialog = KSR.siputils.has_totag() > 0
        opens_dialog = not in_dialog and method in ("INVITE", "SUBSCRIBE")

        # The whole dialog, for the collector and under the id of the parameters. An empty argument counts as not
        # given: KSR.siplens.sip_trace_dst_cid_type("", "my-id", "d") is the same with an id of the script's own.
        if opens_dialog:
            KSR.siplens.sip_trace_mode("d")
            KSR.siplens.hlog(f"call from {KSR.pv.get('$fu')}, session {KSR.pv.get('$siplens(id)')}")
        if method == "OPTIONS" and KSR.is_myself_ruri() and KSR.pv.is_null("$rU"):
            KSR.sl.sl_send_reply(200, "OK")
            return 1
        if method == "CANCEL":
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
            return 1
        if in_dialog:
            if KSR.rr.loose_route() < 0:
                # The ACK of a final reply that is no 2xx belongs to its transaction.
                if method == "ACK" and KSR.tm.t_check_trans() > 0:
                    KSR.tm.t_relay()
                    return 1
                if not KSR.is_myself_ruri():
                    KSR.sl.sl_send_reply(404, "Not Here")
                    return 1
                KSR.pv.sets("$du", defined("RELAY_TO"))
        else:
            if opens_dialog:
                KSR.rr.record_route()
            KSR.pv.sets("$du", defined("RELAY_TO"))
            KSR.tm.t_on_failure("ksr_failure_route")
        if KSR.tm.t_relay() < 0:
            KSR.sl.sl_reply_error()
        return 1

    def ksr_failure_route(self, msg):
        KSR.siplens.hlog(f"failed with {KSR.pv.get('$T_reply_code')}")
        return 1

    # Runs for each message that would be captured; probes are not worth it.
    def ksr_siplens_msg(self, msg, event):
        if KSR.pv.get("$rm") == "OPTIONS":
            KSR.set_drop()
        return 1

    # The module of Kamailio 5.6 looks for these two whenever a message comes or goes, and takes it ill if they are missing.
    def ksr_reply_route(self, msg):
        return 1

    def ksr_onsend_route(self, msg):
        return 1


def mod_init():
    return Routes()
