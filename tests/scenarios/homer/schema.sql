-- Tables as Homer 7 makes them: one for each kind of message, partitioned by time, indexes on time and sid of each
-- partition, no primary key. Two days each, and one partition for what has no time.
do $$
declare
    kind text;
    day date;
    partition text;
begin
    foreach kind in array array['1_call', '1_registration', '1_default', '5_default', '35_default', '53_default', '54_default', '100_default'] loop
        execute format('create table hep_proto_%s (id bigserial, sid varchar, create_date timestamptz,
            protocol_header jsonb, data_header jsonb, raw varchar) partition by range (create_date)', kind);
        execute format('create table hep_proto_%1$s_rest partition of hep_proto_%1$s default', kind);
        foreach day in array array[current_date - 2, current_date - 1, current_date] loop
            partition := format('hep_proto_%s_%s_0000', kind, to_char(day, 'YYYYMMDD'));
            execute format('create table %s partition of hep_proto_%s for values from (%L) to (%L)', partition, kind, day, day + 1);
            execute format('create index on %s (create_date)', partition);
            execute format('create index on %s (sid)', partition);
        end loop;
    end loop;
end $$;
-- Something else in the same database.
create table mapping_schema (id serial, profile varchar);

-- Who migrates may do no more than read.
create role reader login;
grant select on all tables in schema public to reader;

create function header(at timestamptz, src text, sport int, dst text, dport int, kind int, correlation text) returns jsonb
language sql as $$
    select jsonb_build_object('protocolFamily', case when src like '%:%' then 10 else 2 end, 'protocol', 17, 'srcIp', src, 'dstIp', dst,
        'srcPort', sport, 'dstPort', dport, 'timeSeconds', floor(extract(epoch from at))::bigint,
        'timeUseconds', (extract(microseconds from at))::bigint % 1000000, 'payloadType', kind, 'captureId', '2001',
        'capturePass', 'agents-secret', 'correlation_id', correlation)
$$;
create function sip(start text, method text, call_id text) returns text language sql as $$
    select concat_ws(E'\r\n', start, 'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK' || md5(call_id || start), 'From: <sip:alice@192.0.2.1>;tag=a',
        'To: <sip:bob@192.0.2.2>', 'Call-ID: ' || call_id, 'CSeq: 1 ' || method, 'Content-Length: 0', '', '')
$$;
