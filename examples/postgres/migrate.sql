-- At each start, so it must hold for the first and for any later one.
set client_min_messages = warning;
create table if not exists visits (at timestamptz not null default now());
