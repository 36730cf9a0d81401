#include <stdlib.h>
#include <string.h>
#include "core/sr_module.h"
#include "core/mod_fix.h"
#include "core/action.h"
#include "core/globals.h"
#include "core/onsend.h"
#include "core/parser/msg_parser.h"
#include "core/route.h"
#include "core/script_cb.h"
#include "core/kemi.h"
#include "core/pvar.h"
#include "core/dprint.h"
#include "core/cfg/cfg_struct.h"
#include "core/tcp_conn.h"
#include "core/tcp_init.h"
#include "core/tcp_options.h"
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

int siplens_onsend_route(void)
{
	return onsend_rt.rlist[DEFAULT_RT] != NULL || kemi_onsend_route_callback.len > 0;
}

/* The host's table of connections. It exports both, but no header declares them; weak, so that a host that hides them
 * still loads us. */
extern gen_lock_t *tcpconn_lock __attribute__((weak));
#if VERSIONVAL >= 5008000
/* The last argument came with 5.8.6; earlier 5.8 do not read it. */
extern struct tcp_connection *_tcpconn_find(int id, struct ip_addr *ip, int port, struct ip_addr *l_ip, int l_port,
		sip_protos_t proto) __attribute__((weak));
#define FIND(id, ip, port, l_ip, l_port, proto) _tcpconn_find(id, ip, port, l_ip, l_port, proto)
#else
extern struct tcp_connection *_tcpconn_find(int id, struct ip_addr *ip, int port, struct ip_addr *l_ip, int l_port)
		__attribute__((weak));
#define FIND(id, ip, port, l_ip, l_port, proto) _tcpconn_find(id, ip, port, l_ip, l_port)
#endif

/* A holder needs a fraction of a microsecond, and about as long are so many attempts. If it was suspended meanwhile, it
 * may need a long time, which is not ours to spend. */
#define LOCK_ATTEMPTS 32

/* What tcp_send() looks for, in its order; the lock is held. */
static struct tcp_connection *find_as_sent(const struct dest_info *to)
{
	struct tcp_connection *found = NULL;
	struct ip_addr peer, local;
	int port, local_port = 0, strict;

	port = su_getport(&to->to);
	if(port == 0)
		return to->id ? FIND(to->id, NULL, 0, NULL, 0, PROTO_NONE) : NULL;
	su2ip_addr(&peer, &to->to);
	ip_addr_mk_any(peer.af, &local);
	if((to->send_flags.f & SND_F_FORCE_SOCKET) && to->send_sock) {
		su2ip_addr(&local, &to->send_sock->su);
		if(cfg_get(tcp, tcp_cfg, reuse_port))
			local_port = to->send_sock->port_no;
	}
	if(to->id && (found = FIND(to->id, &peer, port, &local, local_port, PROTO_NONE)))
		return found;
	strict = tcp_connection_match == TCPCONN_MATCH_STRICT;
	if(strict && local_port == 0 && to->send_sock)
		found = FIND(0, &peer, port, &local, to->send_sock->port_no, to->proto);
	return found ? found : FIND(0, &peer, port, &local, local_port, strict ? to->proto : PROTO_NONE);
}

int siplens_connection(const struct dest_info *to, struct receive_info *ends)
{
	struct tcp_connection *found;
	int attempts = 0;

	if(&tcpconn_lock == NULL || _tcpconn_find == NULL || tcpconn_lock == NULL)
		return 0;
	while(lock_try(tcpconn_lock) != 0) {
		if(++attempts == LOCK_ATTEMPTS)
			return -1;
	}
	found = find_as_sent(to);
	if(found) {
		ends->src_ip = found->rcv.src_ip;
		ends->src_port = found->rcv.src_port;
		ends->dst_ip = found->rcv.dst_ip;
		ends->dst_port = found->rcv.dst_port;
		ends->bind_address = found->rcv.bind_address;
	}
	lock_release(tcpconn_lock);
	return found != NULL;
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

int siplens_run_event_route(int index, str *callback, const char *octets, int len, const struct ip_addr *from,
        unsigned short from_port, const struct ip_addr *to, unsigned short to_port, int proto)
{
	str name = str_init("siplens:msg");
	sr_kemi_eng_t *language = sr_kemi_eng_get();
	struct run_act_ctx *outer;
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
	if(index >= 0) {
		run_top_route(event_rt.rlist[index], &msg, &ctx);
	} else if(language != NULL) {
		/* The routing logic may be what captures the message: its own state is put back. */
		outer = sr_kemi_act_ctx_get();
		sr_kemi_act_ctx_set(&ctx);
		sr_kemi_route(language, &msg, EVENT_ROUTE, callback, &name);
		sr_kemi_act_ctx_set(outer);
	}
	set_route_type(type);
	free_sip_msg(&msg);
	return (ctx.run_flags & DROP_R_F) != 0;
}
