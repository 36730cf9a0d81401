/* What Kamailio offers as macros or inline functions only, as functions. */
#ifndef SIPLENS_SHIM_H
#define SIPLENS_SHIM_H

#include <stddef.h>
#include "core/pvar.h"
#include "core/ip_addr.h"
#include "core/str.h"

struct sip_msg;
struct onsend_info;
struct dest_info;
struct receive_info;

/* The strings and sizes that the C compiler arrived at; build.rs and mod_init compare them. */
extern const char siplens_built_version[];
extern const char siplens_built_flags[];
extern const size_t siplens_sizes[5];

/* Whether a line of this level (L_ERR … L_DBG) would be written, and writing one. */
int siplens_log_wanted(int level);
void siplens_log(int level, const char *text, int len);

/* The value of a parameter that fixup_spve_all prepared. It lives in a buffer that the next call may reuse. */
int siplens_svalue(struct sip_msg *msg, void *param, str *value);

/* The pseudo-variable that the text is, from the host's cache that is never emptied; null if it is more or less. */
pv_spec_t *siplens_pv(str *name);
/* Its value for this message, at a place that the next call may reuse; negative if it has none. */
int siplens_pv_value(struct sip_msg *msg, pv_spec_t *spec, str *value);

/* The message that is being sent, inside onsend_route; null elsewhere. */
struct onsend_info *siplens_onsend(void);

/* Whether the script has something to do with each message that is sent. */
int siplens_onsend_route(void);

/* Both ends of the connection that a message to this destination goes by, or went a moment ago, as they are of what comes
 * in by it: ours is the destination. Positive: found; 0: there is no such connection; negative: the host was changing its
 * connections all the while. Written are addresses, ports, and the socket of ours. Never waits. */
int siplens_connection(const struct dest_info *to, struct receive_info *ends);

/* Takes over what core.cfg_set changed, in a process that receives no messages. */
void siplens_cfg_update(void);

/* The index of event_route[siplens:msg]; negative if the configuration has none. */
int siplens_event_route(void);
/* Runs it, or with a negative index the function of this name in a routing script of another language, on a copy of these
 * octets, which came from or go to where the addresses say (family 0 for unknown). 1 if the script dropped the message, 0
 * if not, negative if the host cannot parse it. */
int siplens_run_event_route(int index, str *callback, const char *octets, int len, const struct ip_addr *from,
        unsigned short from_port, const struct ip_addr *to, unsigned short to_port, int proto);

#endif
