-- The store's tables in PostgreSQL 13 or later.

create table siplens_schema (version bigint not null);

-- What arrived in one hour and is kept under one retention rule: a partition of pack and one of page, which go together.
create table bucket (
    number integer generated always as identity primary key,
    rule text not null,
    hour bigint not null,               -- hours since the epoch
    next_row bigint not null default 0  -- rows before this one are given out
);
create index bucket_hour on bucket (hour, rule);

-- The messages: slices, up to 8 in a row, whose ids follow on that of the row. The high 32 bits of an id are its bucket.
create table pack (
    id bigint not null primary key,
    blob bytea not null
) partition by range (id);
-- It is compressed already.
alter table pack alter column blob set storage external;

-- What slices are found by. A flush brings a segment of each of its buckets; later, segments are merged.
create table segment (
    id bigint not null primary key,     -- high 32 bits: its bucket
    level smallint not null,            -- how often its postings were merged
    oldest_us bigint not null,          -- of the last messages of the slices in it
    newest_us bigint not null
);
create sequence segment_number maxvalue 4294967295 cycle;

create table page (
    segment bigint not null,
    first bytea not null,               -- its first posting
    data bytea not null,
    primary key (segment, first)
) partition by range (segment);
alter table page alter column data set storage external;

create table dictionary (
    id bigint not null primary key,
    made_at_us bigint not null,
    data bytea not null
);

-- How far each spool is stored.
create table checkpoint (
    spool text primary key,
    segment bigint not null,
    "offset" bigint not null
);
