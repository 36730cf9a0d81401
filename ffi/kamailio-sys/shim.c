#include <stdlib.h>
#include <string.h>
#include "core/sr_module.h"
#include "core/mod_fix.h"
#include "core/action.h"
#include "core/onsend.h"
#include "core/parser/msg_parser.h"
#include "core/route.h"
#include "core/script_cb.h"
#include "core/pvar.h"
#include "core/dprint.h"
#include "core/cfg/cfg_struct.h"
#include "shim.h"

const char siplens_built_version[] = SER_FULL_VERSION;
const char siplens_built_flags[] = SER_COMPILE_FLAGS;

/* In the order of src/layout.rs. */
const size_t siplens_sizes[5] = {sizeof(struct sip_msg), sizeof(struct receive_info), sizeof(struct dest_info),
        sizeof(struct socket_info), sizeof(struct module_exports)};

int siplens_log_wanted(int level)
{
    return is_printable(level);
}

void siplens_log(int level, const char *text, int len)
{
    LM_GEN1(level, "%.*s\n", len, text);
}

int siplens_svalue(struct sip_msg *msg, void *param, str *value)
{
    return fixup_get_svalue(msg, (gparam_t *)param, value);
}

pv_spec_t *siplens_pv(str *name)
{
    return pv_locate_name(name) == name->len ? pv_cache_get(name) : NULL;
}

int siplens_pv_value(struct sip_msg *msg, pv_spec_t *spec, str *value)
{
    pv_value_t found;

    memset(&found, 0, sizeof(found));
    if(pv_get_spec_value(msg, spec, &found) != 0 || (found.flags & PV_VAL_NULL))
        return -1;
    *value = found.rs;
    return 0;
}

struct onsend_info *siplens_onsend(void)
{
    return get_onsend_info();
}

void siplens_cfg_update(void)
{
    cfg_update();
}

int siplens_event_route(void)
{
	int index = route_lookup(&event_rt, "siplens:msg");

	return index >= 0 && event_rt.rlist[index] != NULL ? index : -1;
}

int siplens_run_event_route(int index, const char *octets, int len, const struct ip_addr *from, unsigned short from_port,
        const struct ip_addr *to, unsigned short to_port, int proto)
{
	/* The parser may write into its text, and wants a NUL behind it. Kept for the next message. */
	static char *copy = NULL;
	static int room = 0;
	struct run_act_ctx ctx;
	struct sip_msg msg;
	int type;

	if(len >= room) {
		char *more = realloc(copy, len + 4096);
		if(more == NULL)
			return -1;
		copy = more;
		room = len + 4096;
	}
	memcpy(copy, octets, len);
	copy[len] = 0;

	memset(&msg, 0, sizeof(msg));
	msg.buf = copy;
	msg.len = len;
	msg.rcv.src_ip = *from;
	msg.rcv.src_port = from_port;
	msg.rcv.dst_ip = *to;
	msg.rcv.dst_port = to_port;
	msg.rcv.proto = proto;
	if(parse_msg(msg.buf, msg.len, &msg) != 0) {
		free_sip_msg(&msg);
		return -1;
	}

	type = get_route_type();
	set_route_type(EVENT_ROUTE);
	init_run_actions_ctx(&ctx);
	run_top_route(event_rt.rlist[index], &msg, &ctx);
	set_route_type(type);
	free_sip_msg(&msg);
	return (ctx.run_flags & DROP_R_F) != 0;
}
