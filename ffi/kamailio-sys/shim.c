#include "core/sr_module.h"
#include "core/mod_fix.h"
#include "core/onsend.h"
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
