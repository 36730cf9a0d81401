-- One of each kind, and what is broken.
-- A call over IPv6, with ports as texts and an agent that has a name.
insert into hep_proto_1_call (sid, create_date, protocol_header, raw)
select 'v6@host', at, header(at, '2001:db8::1', 5060, '2001:db8::2', 5061, 1, 'v6-session')
        || '{"srcPort": "5060", "dstPort": "5061", "captureId": "edge-1", "protocol": 6}', sip(start, 'INVITE', 'v6@host')
from (values ('INVITE sip:bob@192.0.2.2 SIP/2.0', 0), ('SIP/2.0 180 Ringing', 100), ('SIP/2.0 486 Busy Here', 900)) as one(start, ms),
    lateral (select current_date - interval '14 hours' + ms * interval '1 millisecond' as at) as time;
-- No header, one that is no object, one with nonsense in it: kept, with the time of the row.
insert into hep_proto_1_call (sid, create_date, protocol_header, raw)
select 'broken@host', current_date - interval '13 hours' + number * interval '1 second', given::jsonb,
    sip('INFO sip:bob@192.0.2.2 SIP/2.0', 'INFO', 'broken@host')
from (values (null, 1), ('[1, 2]', 2), ('"text"', 3),
    ('{"srcIp": "nowhere", "srcPort": {}, "dstPort": 99999, "timeSeconds": "soon", "captureId": null, "payloadType": -3}', 4)) as one(given, number);
-- Nothing captured.
insert into hep_proto_1_call (sid, create_date, protocol_header, raw)
values ('empty@host', current_date - interval '12 hours', '{}', null), ('empty@host', current_date - interval '12 hours', '{}', '');
-- No time, and one before there was any.
insert into hep_proto_1_call (sid, create_date, protocol_header, raw)
values ('timeless@host', null, '{}', sip('INFO sip:b@h SIP/2.0', 'INFO', 'timeless@host')),
    ('timeless@host', '1960-01-01Z', '{}', sip('INFO sip:b@h SIP/2.0', 'INFO', 'timeless@host')),
    ('timeless@host', 'infinity', '{}', sip('INFO sip:b@h SIP/2.0', 'INFO', 'timeless@host'));
-- No SIP, where SIP should be.
insert into hep_proto_1_default (sid, create_date, protocol_header, raw)
select 'garbage', at, header(at, '192.0.2.1', 5060, '192.0.2.2', 5060, 1, null), 'this is no SIP'
from (select current_date - interval '11 hours' as at) as time;
insert into hep_proto_1_registration (sid, create_date, protocol_header, raw)
select 'register@host', at, header(at, '192.0.2.9', 5060, '192.0.2.2', 5060, 1, 'register@host'),
    sip('REGISTER sip:192.0.2.2 SIP/2.0', 'REGISTER', 'register@host')
from (select current_date - interval '11 hours' as at) as time;
-- What belongs to the first call: reports, a log line, one of a type that shares a table.
insert into hep_proto_5_default (sid, create_date, protocol_header, data_header, raw)
select 'v6-session', at, header(at, '2001:db8::1', 40001, '2001:db8::2', 40002, 5, 'v6-session'), '{"node": "edge", "proto": "rtcp"}',
    '{"type": 200, "report_blocks": [{"packets_lost": 3}]}'
from (select current_date - interval '14 hours' + interval '300 milliseconds' as at) as time;
insert into hep_proto_35_default (sid, create_date, protocol_header, data_header, raw)
select 'v6-session', at, header(at, '2001:db8::1', 1, '2001:db8::2', 2, 34, null), '{"node": "edge", "proto": "rtpagent"}', '{"MOS": 4.1}'
from (select current_date - interval '14 hours' + interval '400 milliseconds' as at) as time;
insert into hep_proto_53_default (sid, create_date, protocol_header, raw)
select 'v6-session', at, '{}', '{"question": "example.org"}' from (select current_date - interval '14 hours' + interval '500 milliseconds' as at) as time;
insert into hep_proto_100_default (sid, create_date, protocol_header, raw)
select 'v6-session', at, header(at, '192.0.2.3', 0, '192.0.2.3', 0, 100, 'v6-session'), 'user not found'
from (select current_date - interval '14 hours' + interval '600 milliseconds' as at) as time;
-- More rows of one microsecond than are read at once.
insert into hep_proto_1_default (sid, create_date, protocol_header, raw)
select 'ping-' || number, at, header(at, '192.0.2.1', 5060, '192.0.2.2', 5060, 1, 'pings'),
    sip('OPTIONS sip:192.0.2.2 SIP/2.0', 'OPTIONS', 'ping-' || number)
from generate_series(1, 2500) as number, (select current_date - interval '9 hours' as at) as time;
-- As Homer's tables are looked after.
analyze;
