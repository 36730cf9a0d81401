// Made from openapi.json by `npm run schema`. Not to be edited.

export interface paths {
    "/api/v1/agents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Capture agents that sent since the start: what was taken and refused of each, and how its clock goes. */
        get: operations["list_agents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/calls": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Calls of which a message meets all conditions, newest first.
         * @description `from_user` and `to_user` are those of the call: who called, who was called. All other conditions must be met by one
         *     and the same message.
         */
        get: operations["list_calls"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/calls/{call_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One call: what it comes to, its messages, and its ladder. */
        get: operations["get_call"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/calls/{call_id}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One call as a file. */
        get: operations["export_call"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/counts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How many messages meet all conditions: by time and, if wanted, by a fact. */
        get: operations["count_messages"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/links": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All customer links, newest first, without their addresses. */
        get: operations["list_links"];
        put?: never;
        /**
         * Make a customer link to one call or one session. Whoever has its address sees that, until the link ends or is
         *     revoked.
         */
        post: operations["make_link"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/links/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Revoke a customer link: it opens nothing from now on. */
        delete: operations["revoke_link"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Log in with a browser: sets the cookie `siplens_session`. */
        post: operations["login"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Log out: ends the login. */
        post: operations["logout"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who asks. Answers also those who are not logged in, and says so. */
        get: operations["get_me"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Messages that meet all conditions, newest first. */
        get: operations["list_messages"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/peers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Addresses that sent since the start: what was taken and refused of each. */
        get: operations["list_peers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/quarantine": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What was refused as garbage and is still in memory, newest first. */
        get: operations["list_quarantine"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions/{correlation_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One session: how many messages and calls, and how they ended. */
        get: operations["get_session"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions/{correlation_id}/calls": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The calls of one session, newest first. */
        get: operations["list_calls_of_session"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Alive. */
        get: operations["healthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Metrics, for Prometheus. */
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Ready: takes in, stores and finds. */
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A capture agent that sent something since the start. */
        Agent: {
            /**
             * Format: int64
             * @description Packets that were taken.
             */
            accepted: number;
            /**
             * Format: int32
             * @description Its id, as it says.
             */
            agent_id: number;
            /**
             * Format: int64
             * @description Its clock less ours, ms, by its freshest packet of late; null where it sends no time.
             */
            clock_offset_ms: number | null;
            /** @description Whether its clock differs by more than two seconds, so that its times cannot be compared with other agents'. */
            clock_skewed: boolean;
            /** @description Its last packet. */
            last_seen: string;
            /**
             * Format: int64
             * @description Packets that it sent and that did not come, by the numbers that Siplens' own modules give them; 0 for agents that
             *     number nothing.
             */
            lost: number;
            /** @description Who sent its last packet, address:port. */
            peer: string;
            /** @description Packets that were refused, or left out by a rule, by reason. */
            refused: {
                [key: string]: number;
            };
            /**
             * Format: int64
             * @description Packets that came again after they had been taken, and were not taken again.
             */
            repeated: number;
        };
        /** @description All agents. */
        Agents: {
            /** @description By id; at most 1024. */
            items: components["schemas"]["Agent"][];
            /** @description All further ones together. */
            others: components["schemas"]["Others"];
        };
        /**
         * @description Whether one must log in.
         * @enum {string}
         */
        Auth: "open" | "user";
        /** @description Messages in a bucket of time. */
        Bucket: components["schemas"]["Count"] & {
            /** @description When it begins: a multiple of the interval. */
            at: string;
        };
        /** @description A call with its messages and its ladder. */
        Call: components["schemas"]["CallSummary"] & {
            /** @description Its picture. */
            ladder: components["schemas"]["Ladder"];
            /** @description Its messages and events, oldest first. */
            messages: components["schemas"]["Message"][];
            /** @description Whether it has more messages than could be read, or a part of the store is away or damaged. */
            partial: boolean;
        };
        /** @description What a call comes to. */
        CallSummary: {
            /** @description Who captured. */
            agent_ids: number[];
            /** @description The 2xx to the INVITE. */
            answered_at: string | null;
            /** @description Call-ID. */
            call_id: string;
            /** @description Correlation ids of its messages. */
            correlation_ids: string[];
            /**
             * Format: int64
             * @description 2xx to BYE, ms.
             */
            duration_ms: number | null;
            /** @description The BYE; for a call that was not answered, the final reply. */
            ended_at: string | null;
            /**
             * Format: int32
             * @description The final status of its last try.
             */
            final_status: number | null;
            /** @description Its first message. */
            first_seen: string;
            /** @description Who called. */
            from_user: string | null;
            /** @description Who sent or was sent a message, in order of appearance. */
            hosts: string[];
            /** @description Its last message. */
            last_seen: string;
            /** @description How many messages were captured, events not counted. */
            message_count: number;
            /** @description Method of its first request. */
            method: string | null;
            /** @description How it ended. */
            outcome: components["schemas"]["Outcome"];
            /** @description Request-URI of its first request. */
            request_uri: string | null;
            /**
             * Format: int64
             * @description Ringing to the final reply, ms.
             */
            ring_time_ms: number | null;
            /** @description The first 180 to 183. */
            ringing_at: string | null;
            /**
             * Format: int64
             * @description INVITE to 2xx, ms.
             */
            setup_time_ms: number | null;
            /** @description The first request. */
            started_at: string | null;
            /** @description Who was called. */
            to_user: string | null;
            /** @description How it travelled. */
            transports: components["schemas"]["Transport"][];
        };
        /** @description How many messages, and of which values. */
        Count: {
            /**
             * Format: int64
             * @description How many.
             */
            messages: number;
            /**
             * Format: int64
             * @description How many are of values beyond the first 10,000 that were met.
             */
            others: number;
            /**
             * Format: double
             * @description How many a second.
             */
            per_second: number;
            /** @description How many of each value, most first. */
            values: components["schemas"]["ValueCount"][];
            /**
             * Format: int64
             * @description How many do not say.
             */
            without: number;
        };
        /** @description How many messages. */
        Counts: {
            /** @description By time, oldest first; a bucket without a message is left out. */
            buckets: components["schemas"]["Bucket"][];
            /**
             * Format: int64
             * @description How long a bucket of time is, seconds.
             */
            interval_seconds: number;
            /** @description Whether there may be more: the time limit was reached, or a part of the store is away or damaged. */
            partial: boolean;
            /** @description Where the time limit was reached: all that was captured after this is counted. */
            reached_at: string | null;
            /** @description From then on. */
            since: string;
            /** @description In all. */
            total: components["schemas"]["Count"];
            /** @description Until then. */
            until: string;
        };
        /** @description What a customer link shows. */
        CustomerView: {
            /** @description The call. */
            call_id?: string | null;
            /** @description Or the session. */
            correlation_id?: string | null;
            /** @description When the link ends. */
            expires_at: string;
            /** @description Which of the two. */
            kind: components["schemas"]["ViewKind"];
            /** @description Captured then or later. */
            since: string | null;
            /** @description Captured then or earlier. */
            until: string | null;
        };
        /** @description An error as it is sent. */
        ErrorBody: {
            error: components["schemas"]["ErrorDetail"];
        };
        /** @description What went wrong. */
        ErrorDetail: {
            /**
             * @description Stable, for programs.
             * @example bad_request
             */
            code: string;
            /**
             * @description For people.
             * @example limit: expected 1 to 1000, found "0"
             */
            message: string;
        };
        /** @description Whether the backend does its work. */
        Health: {
            /** @description `ok`. */
            status: string;
        };
        /**
         * @description What a message turned out to be.
         * @enum {string}
         */
        Kind: "malformed" | "other" | "reply" | "request";
        /** @description A call as a picture: hosts as columns, messages as arrows, events as notes. */
        Ladder: {
            /** @description The columns, in order of appearance. */
            hosts: components["schemas"]["LadderHost"][];
            /** @description Arrows and notes, oldest first, except that no reply stands before its request and no ACK before what it acknowledges. */
            rows: components["schemas"]["LadderRow"][];
        };
        /** @description A column of a ladder. */
        LadderHost: {
            /** @description address:port. A connection that this host has opened from another port is in the same column. */
            address: string;
        };
        /** @description A row of a ladder. */
        LadderRow: {
            /**
             * Format: double
             * @description Time since the row before, ms.
             */
            delta_ms: number;
            /** @description Number of its dialog, from 0 on; null of a note. */
            dialog: number | null;
            /** @description Index into `hosts`: the sender; of a note, the first. */
            from: number;
            /** @description An arrow for a message, a note across all hosts for an event. */
            kind: components["schemas"]["RowKind"];
            /**
             * @description The message's label.
             * @example 200 OK
             */
            label: string;
            /** @description Index into `messages`. */
            message: number;
            /**
             * Format: double
             * @description Time since the first row, ms.
             */
            offset_ms: number;
            /** @description Whether the same message was seen on the same hop before. */
            retransmission: boolean;
            /** @description Index into `hosts`: the receiver; of a note, the last. */
            to: number;
        };
        /** @description A customer link, without its address. */
        Link: {
            /** @description The call that it shows. */
            call_id: string | null;
            /** @description Or the session. */
            correlation_id: string | null;
            /** @description When it was made. */
            created_at: string;
            /** @description By whom; null where nobody had to log in. */
            created_by: string | null;
            /** @description When it ends. */
            expires_at: string;
            /** @description By which it is revoked. */
            id: string;
            /** @description When it was revoked. */
            revoked_at: string | null;
            /** @description Shows only what was captured then or later. */
            since: string | null;
            /** @description Shows only what was captured then or earlier. */
            until: string | null;
        };
        /** @description A call in a list. */
        ListedCall: components["schemas"]["CallSummary"] & {
            /** @description The time that the list is ordered by: when what was looked for began. Without conditions, its first message. */
            listed_at: string;
        };
        /** @description One page of a list, newest first. */
        Listing_Link: {
            /** @description The items. */
            items: {
                /** @description The call that it shows. */
                call_id: string | null;
                /** @description Or the session. */
                correlation_id: string | null;
                /** @description When it was made. */
                created_at: string;
                /** @description By whom; null where nobody had to log in. */
                created_by: string | null;
                /** @description When it ends. */
                expires_at: string;
                /** @description By which it is revoked. */
                id: string;
                /** @description When it was revoked. */
                revoked_at: string | null;
                /** @description Shows only what was captured then or later. */
                since: string | null;
                /** @description Shows only what was captured then or earlier. */
                until: string | null;
            }[];
            /** @description Where the next page starts; null at the end. */
            next_cursor?: string | null;
            /**
             * @description Whether something that belongs here may be missing: the search ran into its time limit (the cursor goes on from
             *     there), or a part of the store is away or damaged.
             */
            partial: boolean;
            /** @description Where the time limit was reached: all that was captured after this has been looked at. */
            reached_at: string | null;
        };
        /** @description One page of a list, newest first. */
        Listing_ListedCall: {
            /** @description The items. */
            items: (components["schemas"]["CallSummary"] & {
                /** @description The time that the list is ordered by: when what was looked for began. Without conditions, its first message. */
                listed_at: string;
            })[];
            /** @description Where the next page starts; null at the end. */
            next_cursor?: string | null;
            /**
             * @description Whether something that belongs here may be missing: the search ran into its time limit (the cursor goes on from
             *     there), or a part of the store is away or damaged.
             */
            partial: boolean;
            /** @description Where the time limit was reached: all that was captured after this has been looked at. */
            reached_at: string | null;
        };
        /** @description One page of a list, newest first. */
        Listing_Message: {
            /** @description The items. */
            items: {
                /**
                 * Format: int32
                 * @description Capture agent's id.
                 */
                agent_id: number;
                /** @description Capture agent's name. */
                agent_name: string | null;
                /** @description Branch of the topmost Via. */
                branch: string | null;
                /** @description Call-ID. */
                call_id: string | null;
                /**
                 * @description When the agent saw it.
                 * @example 2026-11-21T10:00:00.123456Z
                 */
                captured_at: string;
                /** @description What joins calls into a session. */
                correlation_id: string | null;
                /**
                 * Format: int32
                 * @description CSeq number.
                 */
                cseq: number | null;
                /** @description Receiver, address:port. */
                dst: string;
                /** @description Tag of From. */
                from_tag: string | null;
                /** @description User of From. */
                from_user: string | null;
                /**
                 * Format: int32
                 * @description The size that it had before its agent cut its end off, octets; null of one that is whole.
                 */
                full_size_bytes: number | null;
                /** @description Unique in this store. */
                id: string;
                /** @description What it turned out to be. */
                kind: components["schemas"]["Kind"];
                /** @description Method, or status and reason; of an event, a log line's text or the name of its type. */
                label: string;
                /** @description Method; of a reply, that of its CSeq. */
                method: string | null;
                /**
                 * Format: int32
                 * @description HEP protocol type; 1 is SIP, 100 a log line.
                 */
                protocol_type: number;
                /** @description The message itself; octets that are not UTF-8 are shown as U+FFFD. */
                raw: string;
                /** @description All octets in base64, where `raw` cannot show them. */
                raw_base64: string | null;
                /** @description Reason phrase of a reply. */
                reason: string | null;
                /** @description Request-URI of a request. */
                request_uri: string | null;
                /** @description The size of what is stored, octets. */
                size_bytes: number;
                /**
                 * @description Sender, address:port.
                 * @example [::1]:5060
                 */
                src: string;
                /**
                 * Format: int32
                 * @description Status of a reply.
                 */
                status: number | null;
                /** @description Tag of To. */
                to_tag: string | null;
                /** @description User of To. */
                to_user: string | null;
                /** @description How it travelled. */
                transport: components["schemas"]["Transport"];
                /** @description User-Agent, or Server. */
                user_agent: string | null;
            }[];
            /** @description Where the next page starts; null at the end. */
            next_cursor?: string | null;
            /**
             * @description Whether something that belongs here may be missing: the search ran into its time limit (the cursor goes on from
             *     there), or a part of the store is away or damaged.
             */
            partial: boolean;
            /** @description Where the time limit was reached: all that was captured after this has been looked at. */
            reached_at: string | null;
        };
        /** @description A user's name and password. */
        Login: {
            /** @description Name. */
            name: string;
            /**
             * Format: password
             * @description Password.
             */
            password: string;
        };
        /** @description A customer link that was made. */
        MadeLink: {
            /** @description When it ends. */
            expires_at: string;
            /** @description By which it is revoked. */
            id: string;
            /** @description The address to give to the customer. It cannot be asked for again. */
            url: string;
        };
        /** @description Who asks. */
        Me: {
            /** @description Whether one must log in. */
            auth: components["schemas"]["Auth"];
            /** @description User or token; null where nobody is logged in. */
            name: string | null;
        };
        /** @description A captured message. */
        Message: {
            /**
             * Format: int32
             * @description Capture agent's id.
             */
            agent_id: number;
            /** @description Capture agent's name. */
            agent_name: string | null;
            /** @description Branch of the topmost Via. */
            branch: string | null;
            /** @description Call-ID. */
            call_id: string | null;
            /**
             * @description When the agent saw it.
             * @example 2026-11-21T10:00:00.123456Z
             */
            captured_at: string;
            /** @description What joins calls into a session. */
            correlation_id: string | null;
            /**
             * Format: int32
             * @description CSeq number.
             */
            cseq: number | null;
            /** @description Receiver, address:port. */
            dst: string;
            /** @description Tag of From. */
            from_tag: string | null;
            /** @description User of From. */
            from_user: string | null;
            /**
             * Format: int32
             * @description The size that it had before its agent cut its end off, octets; null of one that is whole.
             */
            full_size_bytes: number | null;
            /** @description Unique in this store. */
            id: string;
            /** @description What it turned out to be. */
            kind: components["schemas"]["Kind"];
            /** @description Method, or status and reason; of an event, a log line's text or the name of its type. */
            label: string;
            /** @description Method; of a reply, that of its CSeq. */
            method: string | null;
            /**
             * Format: int32
             * @description HEP protocol type; 1 is SIP, 100 a log line.
             */
            protocol_type: number;
            /** @description The message itself; octets that are not UTF-8 are shown as U+FFFD. */
            raw: string;
            /** @description All octets in base64, where `raw` cannot show them. */
            raw_base64: string | null;
            /** @description Reason phrase of a reply. */
            reason: string | null;
            /** @description Request-URI of a request. */
            request_uri: string | null;
            /** @description The size of what is stored, octets. */
            size_bytes: number;
            /**
             * @description Sender, address:port.
             * @example [::1]:5060
             */
            src: string;
            /**
             * Format: int32
             * @description Status of a reply.
             */
            status: number | null;
            /** @description Tag of To. */
            to_tag: string | null;
            /** @description User of To. */
            to_user: string | null;
            /** @description How it travelled. */
            transport: components["schemas"]["Transport"];
            /** @description User-Agent, or Server. */
            user_agent: string | null;
        };
        /** @description A customer link to be made: for a call or for a session. */
        NewLink: {
            /** @description The call that it shows. */
            call_id?: string | null;
            /** @description Or the session. */
            correlation_id?: string | null;
            /**
             * Format: int64
             * @description Seconds until it ends; a day if not given.
             * @default 86400
             */
            expires_in: number | null;
            /** @description Shows only what was captured then or later: RFC 3339, or relative to now. */
            since?: string | null;
            /** @description Shows only what was captured then or earlier. */
            until?: string | null;
        };
        /** @description What became of those who have no entry of their own. */
        Others: {
            /**
             * Format: int64
             * @description Packets that were taken.
             */
            accepted: number;
            /** @description Packets that were refused, or left out by a rule, by reason. */
            refused: {
                [key: string]: number;
            };
        };
        /**
         * @description How a call ended.
         * @enum {string}
         */
        Outcome: "answered" | "busy" | "cancelled" | "completed" | "declined" | "failed" | "in_progress" | "no_answer" | "redirected";
        /**
         * Format: binary
         * @description A pcap file.
         */
        Pcap: string;
        /** @description An address that sent something since the start. */
        Peer: {
            /**
             * Format: int64
             * @description Packets that were taken.
             */
            accepted: number;
            /** @description The address; of IPv6, its /64. */
            address: string;
            /** @description Its last packet. */
            last_seen: string;
            /** @description Packets that were refused, or left out by a rule, by reason. */
            refused: {
                [key: string]: number;
            };
        };
        /** @description All peers. */
        Peers: {
            /** @description By address; at most 1024. */
            items: components["schemas"]["Peer"][];
            /** @description All further ones together. */
            others: components["schemas"]["Others"];
        };
        /** @description Garbage, newest first. */
        Quarantine: {
            /** @description The packets. */
            items: components["schemas"]["Quarantined"][];
        };
        /** @description A packet that was refused as garbage. */
        Quarantined: {
            /**
             * Format: int64
             * @description Counted from 1 since the start.
             */
            number: number;
            /** @description Its first 4096 octets in base64; a key is overwritten with zeros. */
            octets_base64: string;
            /** @description Who sent it, address:port. */
            peer: string;
            /** @description Why it was refused. */
            reason: string;
            /** @description When it came. */
            received_at: string;
            /** @description How long it was, octets. */
            size_bytes: number;
            /** @description How it came: `udp`, `tcp`, `tls`, `unix`, `http` or `ws`. */
            transport: string;
        };
        /**
         * @description What a row draws.
         * @enum {string}
         */
        RowKind: "arrow" | "note";
        /** @description What a session comes to. */
        Session: {
            /**
             * Format: int64
             * @description How many calls.
             */
            calls: number;
            /** @description Its correlation id. */
            correlation_id: string;
            /**
             * Format: int64
             * @description How many events carry it.
             */
            events: number;
            /** @description Its first message. */
            first_seen: string;
            /** @description Its last message. */
            last_seen: string;
            /**
             * Format: int64
             * @description How many SIP messages carry it.
             */
            messages: number;
            /** @description Calls by outcome. */
            outcomes: {
                [key: string]: number;
            };
            /** @description Whether something may be missing: a part of the store is away or damaged. */
            partial: boolean;
            /** @description Calls by final status. */
            responses: {
                [key: string]: number;
            };
        };
        /**
         * @description How a message travelled between the two hosts of its hop.
         * @enum {string}
         */
        Transport: "udp" | "tcp" | "tls" | "sctp" | "ws" | "wss";
        /** @description How many messages of a value. */
        ValueCount: {
            /**
             * Format: int64
             * @description How many.
             */
            messages: number;
            /** @description The value. */
            value: string;
        };
        /**
         * @description What a customer link is for.
         * @enum {string}
         */
        ViewKind: "call" | "session";
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    list_agents: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Agents"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    list_calls: {
        parameters: {
            query?: {
                /** @description Capture agent's id. */
                agent_id?: number;
                /** @description Exact Call-ID. */
                call_id?: string;
                /** @description Text that the payload holds, octet for octet. */
                contains?: string;
                /** @description Exact correlation id (session id). */
                correlation_id?: string;
                /** @description `next_cursor` of the page before. */
                cursor?: string;
                /** @description Receiver: as `src`. */
                dst?: string;
                /** @description Exact user of From; of a call, the caller. */
                from_user?: string;
                /** @description What the user of From begins with. */
                from_user_prefix?: string;
                /** @description What the user of From ends with. */
                from_user_suffix?: string;
                /**
                 * @description A header with its whole value: `Name: value`. Any case of the name, and its compact form.
                 * @example X-Tenant: acme
                 */
                header?: string;
                /**
                 * @description `path=value` in the JSON payload of an event.
                 * @example call_id=a84b4c76e66710@192.0.2.1
                 */
                json?: string;
                /** @description `request`, `reply`, `malformed` or `other`, which is an event. */
                kind?: string;
                /** @description At most so many items, 1 to 1000. */
                limit?: number;
                /**
                 * @description Request method; for a reply that of its CSeq.
                 * @example INVITE
                 */
                method?: string;
                /** @description Leaves out what meets this condition; see `agent_id`. */
                not_agent_id?: number;
                /** @description Leaves out what meets this condition; see `call_id`. */
                not_call_id?: string;
                /** @description Leaves out what meets this condition; see `contains`. */
                not_contains?: string;
                /** @description Leaves out what meets this condition; see `correlation_id`. */
                not_correlation_id?: string;
                /** @description Leaves out what meets this condition; see `dst`. */
                not_dst?: string;
                /** @description Leaves out what meets this condition; see `from_user`. */
                not_from_user?: string;
                /** @description Leaves out what meets this condition; see `from_user_prefix`. */
                not_from_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `from_user_suffix`. */
                not_from_user_suffix?: string;
                /**
                 * @description Leaves out what meets this condition; see `header`.
                 * @example X-Tenant: acme
                 */
                not_header?: string;
                /**
                 * @description Leaves out what meets this condition; see `json`.
                 * @example call_id=a84b4c76e66710@192.0.2.1
                 */
                not_json?: string;
                /** @description Leaves out what meets this condition; see `kind`. */
                not_kind?: string;
                /**
                 * @description Leaves out what meets this condition; see `method`.
                 * @example INVITE
                 */
                not_method?: string;
                /** @description Leaves out what meets this condition; see `protocol_type`. */
                not_protocol_type?: number;
                /** @description Leaves out what meets this condition; see `request_user`. */
                not_request_user?: string;
                /** @description Leaves out what meets this condition; see `request_user_prefix`. */
                not_request_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `request_user_suffix`. */
                not_request_user_suffix?: string;
                /**
                 * @description Leaves out what meets this condition; see `src`.
                 * @example 10.0.0.0/8
                 */
                not_src?: string;
                /**
                 * @description Leaves out what meets this condition; see `status`.
                 * @example 486
                 */
                not_status?: string;
                /** @description Leaves out what meets this condition; see `tenant`. */
                not_tenant?: string;
                /** @description Leaves out what meets this condition; see `to_user`. */
                not_to_user?: string;
                /** @description Leaves out what meets this condition; see `to_user_prefix`. */
                not_to_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `to_user_suffix`. */
                not_to_user_suffix?: string;
                /** @description Leaves out what meets this condition; see `transport`. */
                not_transport?: string;
                /** @description Leaves out what meets this condition; see `user_agent`. */
                not_user_agent?: string;
                /** @description HEP protocol type, 0 to 255: 1 SIP, 5 RTCP, 100 log line. */
                protocol_type?: number;
                /** @description Exact user of the Request-URI. */
                request_user?: string;
                /** @description What the user of the Request-URI begins with. */
                request_user_prefix?: string;
                /** @description What the user of the Request-URI ends with. */
                request_user_suffix?: string;
                /**
                 * @description Captured then or later: RFC 3339, or relative to now such as `-15m`.
                 * @example -15m
                 */
                since?: string;
                /**
                 * @description Sender: an address, address:port or network/bits.
                 * @example 10.0.0.0/8
                 */
                src?: string;
                /**
                 * @description Status of a reply: a code, or a class such as `4xx`.
                 * @example 486
                 */
                status?: string;
                /** @description Tenant. */
                tenant?: string;
                /** @description The answer comes after so many milliseconds, with what was found by then and `reached_at`; 100 to 10000. */
                time_limit_ms?: number;
                /** @description Exact user of To; of a call, the callee. */
                to_user?: string;
                /** @description What the user of To begins with. */
                to_user_prefix?: string;
                /** @description What the user of To ends with. */
                to_user_suffix?: string;
                /** @description `udp`, `tcp`, `tls`, `sctp`, `ws` or `wss`. */
                transport?: string;
                /**
                 * @description Captured then or earlier: as `since`.
                 * @example now
                 */
                until?: string;
                /** @description Part of User-Agent or Server, any case. */
                user_agent?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Listing_ListedCall"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    get_call: {
        parameters: {
            query?: {
                /** @description Only messages with this correlation id. */
                correlation_id?: string;
                /** @description Captured then or later: RFC 3339, or relative to now such as `-15m`. */
                since?: string;
                /** @description Captured then or earlier. */
                until?: string;
            };
            header?: never;
            path: {
                /** @description Call-ID, percent-encoded */
                call_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Call"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    export_call: {
        parameters: {
            query: {
                /** @description Only messages with this correlation id. */
                correlation_id?: string;
                /** @description `pcap`, `text` or `json`. */
                format: string;
                /** @description Captured then or later: RFC 3339, or relative to now such as `-15m`. */
                since?: string;
                /** @description Captured then or earlier. */
                until?: string;
            };
            header?: never;
            path: {
                /** @description Call-ID, percent-encoded */
                call_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file, to be saved */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Call"];
                    "application/vnd.tcpdump.pcap": components["schemas"]["Pcap"];
                    "text/plain": string;
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    count_messages: {
        parameters: {
            query?: {
                /** @description Capture agent's id. */
                agent_id?: number;
                /**
                 * @description A fact to count by: `agent_id`, `dst`, `from_user`, `kind`, `method`, `protocol_type`, `request_user`, `src`, `status`,
                 *     `status_class`, `tenant`, `to_user`, `transport` or `user_agent`.
                 * @example method
                 */
                by?: string;
                /** @description Exact Call-ID. */
                call_id?: string;
                /** @description Text that the payload holds, octet for octet. */
                contains?: string;
                /** @description Exact correlation id (session id). */
                correlation_id?: string;
                /** @description Receiver: as `src`. */
                dst?: string;
                /** @description Exact user of From; of a call, the caller. */
                from_user?: string;
                /** @description What the user of From begins with. */
                from_user_prefix?: string;
                /** @description What the user of From ends with. */
                from_user_suffix?: string;
                /**
                 * @description A header with its whole value: `Name: value`. Any case of the name, and its compact form.
                 * @example X-Tenant: acme
                 */
                header?: string;
                /** @description How long a bucket of time is, seconds. */
                interval_seconds?: number;
                /**
                 * @description `path=value` in the JSON payload of an event.
                 * @example call_id=a84b4c76e66710@192.0.2.1
                 */
                json?: string;
                /** @description `request`, `reply`, `malformed` or `other`, which is an event. */
                kind?: string;
                /**
                 * @description Request method; for a reply that of its CSeq.
                 * @example INVITE
                 */
                method?: string;
                /** @description Leaves out what meets this condition; see `agent_id`. */
                not_agent_id?: number;
                /** @description Leaves out what meets this condition; see `call_id`. */
                not_call_id?: string;
                /** @description Leaves out what meets this condition; see `contains`. */
                not_contains?: string;
                /** @description Leaves out what meets this condition; see `correlation_id`. */
                not_correlation_id?: string;
                /** @description Leaves out what meets this condition; see `dst`. */
                not_dst?: string;
                /** @description Leaves out what meets this condition; see `from_user`. */
                not_from_user?: string;
                /** @description Leaves out what meets this condition; see `from_user_prefix`. */
                not_from_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `from_user_suffix`. */
                not_from_user_suffix?: string;
                /**
                 * @description Leaves out what meets this condition; see `header`.
                 * @example X-Tenant: acme
                 */
                not_header?: string;
                /**
                 * @description Leaves out what meets this condition; see `json`.
                 * @example call_id=a84b4c76e66710@192.0.2.1
                 */
                not_json?: string;
                /** @description Leaves out what meets this condition; see `kind`. */
                not_kind?: string;
                /**
                 * @description Leaves out what meets this condition; see `method`.
                 * @example INVITE
                 */
                not_method?: string;
                /** @description Leaves out what meets this condition; see `protocol_type`. */
                not_protocol_type?: number;
                /** @description Leaves out what meets this condition; see `request_user`. */
                not_request_user?: string;
                /** @description Leaves out what meets this condition; see `request_user_prefix`. */
                not_request_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `request_user_suffix`. */
                not_request_user_suffix?: string;
                /**
                 * @description Leaves out what meets this condition; see `src`.
                 * @example 10.0.0.0/8
                 */
                not_src?: string;
                /**
                 * @description Leaves out what meets this condition; see `status`.
                 * @example 486
                 */
                not_status?: string;
                /** @description Leaves out what meets this condition; see `tenant`. */
                not_tenant?: string;
                /** @description Leaves out what meets this condition; see `to_user`. */
                not_to_user?: string;
                /** @description Leaves out what meets this condition; see `to_user_prefix`. */
                not_to_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `to_user_suffix`. */
                not_to_user_suffix?: string;
                /** @description Leaves out what meets this condition; see `transport`. */
                not_transport?: string;
                /** @description Leaves out what meets this condition; see `user_agent`. */
                not_user_agent?: string;
                /** @description HEP protocol type, 0 to 255: 1 SIP, 5 RTCP, 100 log line. */
                protocol_type?: number;
                /** @description Exact user of the Request-URI. */
                request_user?: string;
                /** @description What the user of the Request-URI begins with. */
                request_user_prefix?: string;
                /** @description What the user of the Request-URI ends with. */
                request_user_suffix?: string;
                /**
                 * @description Captured then or later: RFC 3339, or relative to now such as `-15m`; an hour before `until` if not given.
                 * @example -15m
                 */
                since?: string;
                /**
                 * @description Sender: an address, address:port or network/bits.
                 * @example 10.0.0.0/8
                 */
                src?: string;
                /**
                 * @description Status of a reply: a code, or a class such as `4xx`.
                 * @example 486
                 */
                status?: string;
                /** @description Tenant. */
                tenant?: string;
                /** @description Exact user of To; of a call, the callee. */
                to_user?: string;
                /** @description What the user of To begins with. */
                to_user_prefix?: string;
                /** @description What the user of To ends with. */
                to_user_suffix?: string;
                /** @description `udp`, `tcp`, `tls`, `sctp`, `ws` or `wss`. */
                transport?: string;
                /**
                 * @description Captured then or earlier: as `since`; now if not given.
                 * @example now
                 */
                until?: string;
                /** @description Part of User-Agent or Server, any case. */
                user_agent?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Counts"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    list_links: {
        parameters: {
            query?: {
                /** @description `next_cursor` of the page before. */
                cursor?: string;
                /** @description At most so many items, 1 to 1000. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Listing_Link"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    make_link: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewLink"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MadeLink"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    revoke_link: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the link */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Revoked, or it was already */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    login: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Login"];
            };
        };
        responses: {
            /** @description Logged in */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    logout: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Logged out, or was not logged in */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    get_me: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    list_messages: {
        parameters: {
            query?: {
                /** @description Capture agent's id. */
                agent_id?: number;
                /** @description Exact Call-ID. */
                call_id?: string;
                /** @description Text that the payload holds, octet for octet. */
                contains?: string;
                /** @description Exact correlation id (session id). */
                correlation_id?: string;
                /** @description `next_cursor` of the page before. */
                cursor?: string;
                /** @description Receiver: as `src`. */
                dst?: string;
                /** @description Exact user of From; of a call, the caller. */
                from_user?: string;
                /** @description What the user of From begins with. */
                from_user_prefix?: string;
                /** @description What the user of From ends with. */
                from_user_suffix?: string;
                /**
                 * @description A header with its whole value: `Name: value`. Any case of the name, and its compact form.
                 * @example X-Tenant: acme
                 */
                header?: string;
                /**
                 * @description `path=value` in the JSON payload of an event.
                 * @example call_id=a84b4c76e66710@192.0.2.1
                 */
                json?: string;
                /** @description `request`, `reply`, `malformed` or `other`, which is an event. */
                kind?: string;
                /** @description At most so many messages, 1 to 10000. */
                limit?: number;
                /**
                 * @description Request method; for a reply that of its CSeq.
                 * @example INVITE
                 */
                method?: string;
                /** @description Leaves out what meets this condition; see `agent_id`. */
                not_agent_id?: number;
                /** @description Leaves out what meets this condition; see `call_id`. */
                not_call_id?: string;
                /** @description Leaves out what meets this condition; see `contains`. */
                not_contains?: string;
                /** @description Leaves out what meets this condition; see `correlation_id`. */
                not_correlation_id?: string;
                /** @description Leaves out what meets this condition; see `dst`. */
                not_dst?: string;
                /** @description Leaves out what meets this condition; see `from_user`. */
                not_from_user?: string;
                /** @description Leaves out what meets this condition; see `from_user_prefix`. */
                not_from_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `from_user_suffix`. */
                not_from_user_suffix?: string;
                /**
                 * @description Leaves out what meets this condition; see `header`.
                 * @example X-Tenant: acme
                 */
                not_header?: string;
                /**
                 * @description Leaves out what meets this condition; see `json`.
                 * @example call_id=a84b4c76e66710@192.0.2.1
                 */
                not_json?: string;
                /** @description Leaves out what meets this condition; see `kind`. */
                not_kind?: string;
                /**
                 * @description Leaves out what meets this condition; see `method`.
                 * @example INVITE
                 */
                not_method?: string;
                /** @description Leaves out what meets this condition; see `protocol_type`. */
                not_protocol_type?: number;
                /** @description Leaves out what meets this condition; see `request_user`. */
                not_request_user?: string;
                /** @description Leaves out what meets this condition; see `request_user_prefix`. */
                not_request_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `request_user_suffix`. */
                not_request_user_suffix?: string;
                /**
                 * @description Leaves out what meets this condition; see `src`.
                 * @example 10.0.0.0/8
                 */
                not_src?: string;
                /**
                 * @description Leaves out what meets this condition; see `status`.
                 * @example 486
                 */
                not_status?: string;
                /** @description Leaves out what meets this condition; see `tenant`. */
                not_tenant?: string;
                /** @description Leaves out what meets this condition; see `to_user`. */
                not_to_user?: string;
                /** @description Leaves out what meets this condition; see `to_user_prefix`. */
                not_to_user_prefix?: string;
                /** @description Leaves out what meets this condition; see `to_user_suffix`. */
                not_to_user_suffix?: string;
                /** @description Leaves out what meets this condition; see `transport`. */
                not_transport?: string;
                /** @description Leaves out what meets this condition; see `user_agent`. */
                not_user_agent?: string;
                /** @description HEP protocol type, 0 to 255: 1 SIP, 5 RTCP, 100 log line. */
                protocol_type?: number;
                /** @description Exact user of the Request-URI. */
                request_user?: string;
                /** @description What the user of the Request-URI begins with. */
                request_user_prefix?: string;
                /** @description What the user of the Request-URI ends with. */
                request_user_suffix?: string;
                /**
                 * @description Captured then or later: RFC 3339, or relative to now such as `-15m`.
                 * @example -15m
                 */
                since?: string;
                /**
                 * @description Sender: an address, address:port or network/bits.
                 * @example 10.0.0.0/8
                 */
                src?: string;
                /**
                 * @description Status of a reply: a code, or a class such as `4xx`.
                 * @example 486
                 */
                status?: string;
                /** @description Tenant. */
                tenant?: string;
                /** @description The answer comes after so many milliseconds, with what was found by then and `reached_at`; 100 to 10000. */
                time_limit_ms?: number;
                /** @description Exact user of To; of a call, the callee. */
                to_user?: string;
                /** @description What the user of To begins with. */
                to_user_prefix?: string;
                /** @description What the user of To ends with. */
                to_user_suffix?: string;
                /** @description `udp`, `tcp`, `tls`, `sctp`, `ws` or `wss`. */
                transport?: string;
                /**
                 * @description Captured then or earlier: as `since`.
                 * @example now
                 */
                until?: string;
                /** @description Part of User-Agent or Server, any case. */
                user_agent?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Listing_Message"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    list_peers: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Peers"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    list_quarantine: {
        parameters: {
            query?: {
                /** @description At most so many items, 1 to 1000. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Quarantine"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    get_session: {
        parameters: {
            query?: {
                /** @description Captured then or later: RFC 3339, or relative to now such as `-15m`. */
                since?: string;
                /** @description Captured then or earlier. */
                until?: string;
            };
            header?: never;
            path: {
                /** @description Correlation id, percent-encoded */
                correlation_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    list_calls_of_session: {
        parameters: {
            query?: {
                /** @description `next_cursor` of the page before. */
                cursor?: string;
                /** @description At most so many items, 1 to 1000. */
                limit?: number;
                /** @description Captured then or later: RFC 3339, or relative to now such as `-15m`. */
                since?: string;
                /** @description Captured then or earlier. */
                until?: string;
            };
            header?: never;
            path: {
                /** @description Correlation id, percent-encoded */
                correlation_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Listing_ListedCall"];
                };
            };
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    healthz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
}
