<?php
// Steps of PDO and the functions pg_… against the server of PGHOST and so on, in the schema of the first argument.
// Prints a line for each: its name, a tab, `ok` or what went wrong.
error_reporting(E_ALL & ~E_WARNING & ~E_NOTICE);
[, $schema] = $argv;
$dsn = 'pgsql:host=' . getenv('PGHOST') . ';port=' . getenv('PGPORT') . ';dbname=' . getenv('PGDATABASE') . ';user=' . getenv('PGUSER');
$connect = fn (bool $emulated) => new PDO($dsn, null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => $emulated]);
$first = $connect(false);
$first->exec("drop schema if exists $schema cascade");
$first->exec("create schema $schema");

function same($found, $expected) {
    if ($found !== $expected) throw new Exception('found ' . json_encode($found));
}
function step(string $name, callable $body) {
    try { $body(); $outcome = 'ok'; } catch (Throwable $e) { $outcome = preg_replace('/\s+/', ' ', $e->getMessage()); }
    echo "$name\t$outcome\n";
}

foreach (['prepared by the server' => false, 'emulated' => true] as $how => $emulated) {
    $table = "$schema.p" . (int) $emulated;
    $db = $connect($emulated);
    step("parameters of every type, $how", function () use ($db, $table) {
        $db->exec("create table $table (id bigint not null, s text, n numeric(10,2), f float8, b boolean, d date, tz timestamptz, y bytea, j jsonb, a int[])");
        $insert = $db->prepare("insert into $table values (:id, :s, :n, :f, :b, :d, :tz, :y, :j, :a)");
        foreach (['id' => 1, 's' => "é'", 'n' => '1.25', 'f' => 0.5, 'd' => '2024-02-29', 'tz' => '2024-02-29 01:02:03+00', 'j' => '{"a":1}', 'a' => '{1,2}'] as $name => $value)
            $insert->bindValue(":$name", $value);
        $insert->bindValue(':b', true, PDO::PARAM_BOOL);
        $insert->bindValue(':y', "\x00\xff", PDO::PARAM_LOB);
        $insert->execute();
        $more = $db->prepare("insert into $table (id, s) values (?, ?)");
        foreach ([2, 3] as $id) $more->execute([$id, null]);
        $row = $db->query("select * from $table where id = 1")->fetch(PDO::FETCH_ASSOC);
        $row['y'] = bin2hex(stream_get_contents($row['y']));
        same($row, ['id' => 1, 's' => "é'", 'n' => '1.25', 'f' => '0.5', 'b' => true, 'd' => '2024-02-29', 'tz' => '2024-02-29 01:02:03+00', 'y' => '00ff', 'j' => '{"a": 1}', 'a' => '{1,2}']);
    });
    step("filters, limits, RETURNING, transactions, $how", function () use ($db, $table) {
        $found = $db->prepare("select id from $table where id >= ? and (s is null or s like ?) order by id limit ?");
        $found->execute([1, '%é%', 2]);
        same($found->fetchAll(PDO::FETCH_COLUMN), [1, 2]);
        $db->beginTransaction();
        $changed = $db->prepare("update $table set s = ? where id = ? returning id, s");
        $changed->execute(['r', 1]);
        same($changed->fetchAll(PDO::FETCH_NUM), [[1, 'r']]);
        $db->rollBack();
        same($db->query("select count(*) from $table where s = 'r'")->fetchColumn(), 0);
    });
    step("COPY, $how", function () use ($db, $table) {
        same($db->pgsqlCopyFromArray($table, ["10\tx", "11\t\\N"], "\t", '\\\\N', 'id,s'), true);
        same(count($db->pgsqlCopyToArray($table, "\t", '\\\\N', 'id')), 5);
    });
}
step('pg_meta_data, pg_insert, pg_select, pg_update, pg_delete', function () use ($schema) {
    $db = pg_connect('');
    same(array_column(pg_meta_data($db, "$schema.p0"), 'type'), ['int8', 'text', 'numeric', 'float8', 'bool', 'date', 'timestamptz', 'bytea', 'jsonb', '_int4']);
    same((bool) pg_insert($db, "$schema.p0", ['id' => 20, 's' => 'i', 'b' => true, 'd' => '2024-01-01']), true);
    same(pg_update($db, "$schema.p0", ['s' => 'u'], ['id' => 20]), true);
    same(pg_select($db, "$schema.p0", ['id' => 20])[0]['s'], 'u');
    same(pg_delete($db, "$schema.p0", ['id' => 20]), true);
    pg_send_query($db, 'select * from nowhere');
    same(pg_result_error_field(pg_get_result($db), PGSQL_DIAG_SQLSTATE), '42P01');
});
