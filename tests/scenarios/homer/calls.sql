-- 10,000 calls of four messages in a hundred sessions, over two days; some of their rows have the same microsecond.
insert into hep_proto_1_call (sid, create_date, protocol_header, raw)
select 'call-' || call, at, header(at, '192.0.2.1', 5060, '192.0.2.' || 1 + call % 200, 5060, 1, 'session-' || call % 100),
    sip(start, 'INVITE', 'call-' || call)
from generate_series(1, 10000) as call,
    (values ('INVITE sip:bob@192.0.2.2 SIP/2.0', 0), ('SIP/2.0 180 Ringing', 1), ('SIP/2.0 200 OK', 2), ('ACK sip:bob@192.0.2.2 SIP/2.0', 3)) as one(start, step),
    lateral (select current_date - interval '36 hours' + (call / 3 * 10 + step) * interval '1 second' as at) as time;
analyze;
