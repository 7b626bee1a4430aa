# Steps of DBD::Pg against the server of PGHOST and so on, in the schema of the first argument. Prints a line for each: its name, a tab, `ok` or what went wrong.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:pg_types);
use Test::More ();

my $schema = shift;
my $db = DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 1, PrintWarn => 0 });
$db->do($_) for "drop schema if exists $schema cascade", "create schema $schema";
binmode STDOUT, ':utf8';

sub same { my ($found, $expected) = @_; Test::More::eq_array([$found], [$expected]) or die 'found ' . join(',', map { $_ // 'undef' } ref $found eq 'ARRAY' ? @$found : $found) . "\n" }
sub step { my ($name, $body) = @_; my $failed = eval { $body->(); 1 } ? 'ok' : $@; $failed =~ s/\s+/ /g; print "$name\t$failed\n" }

step('placeholders of every type, arrays, bytea' => sub {
    $db->do("create table $schema.d (id bigint not null, s text, n numeric(10,2), f float8, b boolean, d date, tz timestamptz, y bytea, j jsonb, a int[])");
    my $insert = $db->prepare("insert into $schema.d values (?,?,?,?,?,?,?,?,?,?)");
    $insert->bind_param(8, undef, { pg_type => PG_BYTEA });
    $insert->execute(1, "\x{e9}", '1.25', 0.5, 1, '2024-02-29', '2024-02-29 01:02:03+00', "\x00\xff", '{"a":1}', [1, 2]);
    $db->prepare("insert into $schema.d (id, s) values (?, ?)")->execute_array({}, [2, 3], ['a', undef]);
    my $row = $db->selectrow_arrayref("select * from $schema.d where id = 1");
    same($row->[9], [1, 2]);
    same([@$row[0 .. 8]], [1, "\x{e9}", '1.25', '0.5', 1, '2024-02-29', '2024-02-29 01:02:03+00', "\x00\xff", '{"a": 1}']);
    same($db->selectcol_arrayref("select id from $schema.d where s = any(?) order by id", undef, ['a', "\x{e9}"]), [1, 2]);
});
step('column_info, primary_key_info, statistics_info, table_info' => sub {
    $db->do("create table $schema.k (id bigint not null primary key, s varchar(20) not null)");
    my $columns = $db->column_info(undef, $schema, 'k', '%')->fetchall_arrayref({});
    same([map { "$_->{COLUMN_NAME} $_->{pg_type} $_->{NULLABLE}" } @$columns], ['id bigint 0', 's character varying(20) 0']);
    same([$db->primary_key(undef, $schema, 'k')], ['id']);
    same(scalar @{ $db->statistics_info(undef, $schema, 'k', 0, 0)->fetchall_arrayref }, 2);
    same([sort map { $_->[2] } @{ $db->table_info(undef, $schema, '%', 'TABLE')->fetchall_arrayref }], ['d', 'k']);
});
step('transactions, savepoints, cursors' => sub {
    $db->begin_work;
    $db->do("delete from $schema.d");
    $db->pg_savepoint('a');
    eval { $db->do('select 1/0') };
    same($db->state, '22012');
    $db->pg_rollback_to('a');
    $db->rollback;
    same([$db->selectrow_array("select count(*) from $schema.d")], [3]);
    $db->begin_work;
    $db->do("declare c cursor for select id from $schema.d order by id");
    same($db->selectcol_arrayref('fetch 2 from c'), [1, 2]);
    $db->commit;
});
step('COPY in and out' => sub {
    $db->do("copy $schema.d (id, s) from stdin");
    $db->pg_putcopydata("10\tx\n11\t\\N\n");
    $db->pg_putcopyend;
    $db->do("copy (select id, s from $schema.d where id > 9 order by id) to stdout");
    my ($line, @lines);
    push @lines, $line while $db->pg_getcopydata($line) >= 0;
    same(\@lines, ["10\tx\n", "11\t\\N\n"]);
});
step('asynchronous statements, one cancelled at once' => sub {
    $db->do('select 1', { pg_async => 1 });
    same($db->pg_result, 1);
    $db->do('select count(*) from generate_series(1, 20000) as a(x), generate_series(1, 20000) as b(y), generate_series(1, 100) as c(z) where x * y % 7 = z', { pg_async => 1 });
    same($db->pg_cancel, 1);
    same([$db->selectrow_array('select 2')], [2]);
});
