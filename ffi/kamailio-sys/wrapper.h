/* The parts of Kamailio's interface that the module reads or calls. */
#include <stdio.h>
#include <netinet/in.h>
#include "core/sr_module.h"
#include "core/mod_fix.h"
#include "core/onsend.h"
#include "core/counters.h"
#include "core/events.h"
#include "core/kemi.h"
#include "core/pvar.h"
#include "core/script_cb.h"
#include "core/pt.h"
#include "core/rpc.h"
#include "core/cfg/cfg_struct.h"
#include "shim.h"
