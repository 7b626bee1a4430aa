-- datagrip: introspection of DataGrip, written after what public issues tell of it; not captured

-- @steps=connect proto=extended n=1
SET extra_float_digits = 3
;;

-- @steps=connect proto=extended n=1
SET application_name = 'DataGrip 2025.2.3'
;;

-- @steps=connect proto=extended n=1
select version()
;;

-- @steps=connect proto=extended n=1
select current_database() as a, current_schemas(false) as b
;;

-- @steps=connect proto=extended n=1
select current_database(), current_schema(), current_user
;;

-- @steps=connect proto=extended n=1
select round(extract(epoch from pg_postmaster_start_time() at time zone 'UTC')) as startup_time
;;

-- @steps=transactions proto=extended n=1
select L.transactionid::varchar::bigint as transaction_id
from pg_catalog.pg_locks L
where L.transactionid is not null
order by pg_catalog.age(L.transactionid) desc
limit 1
;;

-- @steps=transactions proto=extended n=1
select case
  when pg_catalog.pg_is_in_recovery()
    then null
  else
    (pg_catalog.txid_current() % 4294967296)::varchar::bigint
  end as current_txid
;;

-- @steps=databases proto=extended n=1
select N.oid::bigint as id, datname as name, D.description, datistemplate as is_template, datallowconn as allow_connections,
       pg_catalog.pg_get_userbyid(N.datdba) as "owner"
from pg_catalog.pg_database N
  left join pg_catalog.pg_shdescription D on N.oid = D.objoid
order by case when datname = pg_catalog.current_database() then -1::bigint else N.oid::bigint end
;;

-- @steps=schemas proto=extended n=1
select N.oid::bigint as id, N.xmin as state_number, nspname as name, D.description, pg_catalog.pg_get_userbyid(N.nspowner) as "owner"
from pg_catalog.pg_namespace N
  left join pg_catalog.pg_description D on N.oid = D.objoid
order by case when nspname = pg_catalog.current_schema() then -1::bigint else N.oid::bigint end
;;

-- @steps=server proto=extended n=1
select R.oid::bigint as role_id, rolname as role_name, rolsuper is_super, rolinherit is_inherit, rolcreaterole can_createrole, rolcreatedb can_createdb,
       rolcanlogin can_login, rolreplication is_replication, rolconnlimit conn_limit, rolvaliduntil valid_until, rolbypassrls bypass_rls, rolconfig config, D.description
from pg_catalog.pg_roles R
  left join pg_catalog.pg_shdescription D on D.objoid = R.oid
;;

-- @steps=server proto=extended n=1
select member id, roleid role_id, admin_option from pg_catalog.pg_auth_members order by id, roleid::text
;;

-- @steps=server proto=extended n=1
select T.oid::bigint as id, T.spcname as name, T.xmin as state_number, pg_catalog.pg_get_userbyid(T.spcowner) as owner,
       pg_catalog.pg_tablespace_location(T.oid) as location, T.spcoptions as options, D.description as comment
from pg_catalog.pg_tablespace T
  left join pg_catalog.pg_shdescription D on D.objoid = T.oid
;;

-- @steps=server proto=extended n=1
select name, is_dst from pg_catalog.pg_timezone_names union distinct select abbrev as name, is_dst from pg_catalog.pg_timezone_abbrevs
;;

-- @steps=database proto=extended n=1
select L.oid as id, L.xmin as state_number, L.lanname as name, L.lanpltrusted as trusted, H.proname as handler, hs.nspname as handlerSchema
from pg_catalog.pg_language L
  left join pg_catalog.pg_proc H on L.lanplcallfoid = H.oid
  left join pg_catalog.pg_namespace hs on hs.oid = H.pronamespace
order by lanname
;;

-- @steps=database proto=extended n=1
select E.oid as id, E.xmin as state_number, extname as name, extversion as version, extnamespace as schema_id, nspname as schema_name,
       array(select unnest from unnest(pg_catalog.array_agg(E.extversion)) where unnest > extversion) as available_updates
from pg_catalog.pg_extension E
  join pg_namespace N on E.extnamespace = N.oid
group by E.oid, E.xmin, extname, extversion, extnamespace, nspname
;;

-- @steps=database proto=extended n=1
select A.oid as access_method_id, A.xmin as state_number, A.amname as access_method_name, A.amhandler::oid as handler_id, A.amtype as access_method_type from pg_am A
;;

-- @steps=database proto=extended n=1
select C.oid, C.xmin as state_number, C.castsource as castsource_id, quote_ident(SN.nspname) || '.' || quote_ident(S.typname) as castsource_name,
       C.casttarget as casttarget_id, C.castcontext as cast_context, C.castmethod as cast_method
from pg_cast C
  left join pg_type S on C.castsource::oid = S.oid
  left join pg_namespace SN on S.typnamespace = SN.oid
limit 5
;;

-- @steps=schema proto=extended n=1
select cls.xmin as sequence_state_number, sq.seqrelid as sequence_id, cls.relname as sequence_name,
       pg_catalog.format_type(sq.seqtypid, null) as data_type, sq.seqstart as next_value, sq.seqincrement as inc_value, sq.seqcycle as cycle_option
from pg_catalog.pg_sequence sq
  join pg_class cls on sq.seqrelid = cls.oid
where cls.relnamespace = 'sales'::regnamespace::oid
;;

-- @steps=schema proto=extended n=1
select T.oid as type_id, T.xmin as type_state_number, T.typname as type_name, T.typtype as type_sub_kind, T.typcategory as type_category, T.typrelid as class_id,
       T.typbasetype as base_type_id, case when T.typtype in ('c','e') then null else pg_catalog.format_type(T.typbasetype, T.typtypmod) end as type_def,
       T.typndims as dimensions_number, T.typdefault as default_expression, T.typnotnull as mandatory, pg_catalog.pg_get_userbyid(T.typowner) as "owner"
from pg_catalog.pg_type T
  left outer join pg_catalog.pg_class C on T.typrelid = C.oid
where T.typnamespace = 'sales'::regnamespace::oid
  and (T.typtype in ('d','e') or C.relkind = 'c'::"char" or (T.typtype = 'b' and (T.typelem = 0 OR T.typcategory <> 'A')) or T.typtype = 'p' and not T.typisdefined)
order by 1
;;

-- @steps=schema proto=extended n=1
select T.relkind as table_kind, T.relname as table_name, T.oid as table_id, T.xmin as table_state_number, false as table_with_oids,
       T.reltablespace as tablespace_id, T.reloptions as options, T.relpersistence as persistence,
       (select pg_catalog.array_agg(inhparent::bigint order by inhseqno)::varchar from pg_catalog.pg_inherits where T.oid = inhrelid) as ancestors,
       (select pg_catalog.array_agg(inhrelid::bigint order by inhrelid)::varchar from pg_catalog.pg_inherits where T.oid = inhparent) as successors,
       T.relispartition as is_partition, pg_catalog.pg_get_partkeydef(T.oid) as partition_key, pg_catalog.pg_get_expr(T.relpartbound, T.oid) as partition_expression,
       T.relam am_id, pg_catalog.pg_get_userbyid(T.relowner) as "owner"
from pg_catalog.pg_class T
where relnamespace = 'sales'::regnamespace::oid and relkind in ('r', 'm', 'v', 'f', 'p')
order by table_kind, table_id
;;

-- @steps=schema proto=extended n=1
with T as (select distinct T.oid as table_id, T.relname as table_name
           from pg_catalog.pg_class T, pg_catalog.pg_attribute A
           where T.relnamespace = 'sales'::regnamespace::oid and T.relkind in ('r', 'm', 'v', 'f', 'p') and A.attrelid = T.oid)
select T.table_id, C.attnum as column_position, C.attname as column_name, C.xmin as column_state_number, C.atttypmod as type_mod, C.attndims as dimensions_number,
       pg_catalog.format_type(C.atttypid, C.atttypmod) as type_spec, C.atttypid as type_id, C.attnotnull as mandatory,
       pg_catalog.pg_get_expr(D.adbin, T.table_id) as column_default_expression, not C.attislocal as column_is_inherited, C.attfdwoptions as options,
       C.attisdropped as column_is_dropped, C.attidentity as identity_kind, C.attgenerated as generated
from T
  join pg_catalog.pg_attribute C on T.table_id = C.attrelid
  left join pg_catalog.pg_attrdef D on (C.attrelid, C.attnum) = (D.adrelid, D.adnum)
where attnum > 0
order by table_id, attnum
;;

-- @steps=schema proto=extended n=1
select tab.oid table_id, tab.relkind table_kind, ind_stor.relname index_name, ind_head.indexrelid index_id, ind_stor.xmin state_number,
       ind_head.indisunique is_unique, ind_head.indisprimary is_primary, pg_catalog.pg_get_expr(ind_head.indpred, ind_head.indrelid) as condition,
       (select pg_catalog.array_agg(inhparent::bigint order by inhseqno)::varchar from pg_catalog.pg_inherits where ind_stor.oid = inhrelid) as ancestors,
       ind_stor.reltablespace tablespace_id, opcmethod as access_method_id
from pg_catalog.pg_class tab
  join pg_catalog.pg_index ind_head on ind_head.indrelid = tab.oid
  join pg_catalog.pg_class ind_stor on tab.relnamespace = ind_stor.relnamespace and ind_stor.oid = ind_head.indexrelid
  left join pg_catalog.pg_opclass on pg_opclass.oid = any(indclass)
where tab.relnamespace = 'sales'::regnamespace::oid and tab.relkind in ('r', 'm', 'v', 'p') and ind_stor.relkind in ('i', 'I')
;;

-- @steps=schema proto=extended n=1
select ind_head.indexrelid index_id, k col_idx, k <= indnkeyatts in_key, ind_head.indkey[k-1] column_position, ind_head.indoption[k-1] column_options,
       ind_head.indcollation[k-1] as collation, colln.nspname as collation_schema, collname as collation_str, ind_head.indclass[k-1] as opclass,
       case when opcdefault then null else opcn.nspname end as opclass_schema, case when opcdefault then null else opcname end as opclass_str,
       case when indexprs is null then null when ind_head.indkey[k-1] = 0 then chr(27) || pg_catalog.pg_get_indexdef(ind_head.indexrelid, k::int, true)
            else pg_catalog.pg_get_indexdef(ind_head.indexrelid, k::int, true) end as expression,
       pg_catalog.pg_indexam_has_property(am.oid, 'can_order') can_order
from pg_catalog.pg_index ind_head
  join pg_catalog.pg_class ind_stor on ind_stor.oid = ind_head.indexrelid
  cross join unnest(ind_head.indkey) with ordinality u(u, k)
  left join pg_catalog.pg_collation coll on coll.oid = ind_head.indcollation[k-1]
  left join pg_catalog.pg_namespace colln on coll.collnamespace = colln.oid
  left join pg_catalog.pg_opclass opc on opc.oid = ind_head.indclass[k-1]
  left join pg_catalog.pg_namespace opcn on opc.opcnamespace = opcn.oid
  left join pg_catalog.pg_am am on opc.opcmethod = am.oid
where ind_stor.relnamespace = 'sales'::regnamespace::oid
order by index_id, k
;;

-- @steps=schema proto=extended n=1
select T.oid table_id, relkind table_kind, C.oid::bigint con_id, C.xmin con_state_id, conname con_name, contype con_kind, conkey con_columns, conindid index_id,
       confrelid ref_table_id, condeferrable is_deferrable, condeferred is_init_deferred, confupdtype on_update, confdeltype on_delete, connoinherit no_inherit,
       pg_catalog.pg_get_expr(conbin, T.oid) con_expression, confkey ref_columns, conexclop::int[] excl_operators
from pg_catalog.pg_constraint C
  join pg_catalog.pg_class T on C.conrelid = T.oid
where relkind in ('r', 'v', 'f', 'p') and relnamespace = 'sales'::regnamespace::oid and contype in ('p', 'u', 'f', 'c', 'x') and connamespace = 'sales'::regnamespace::oid
;;

-- @steps=schema proto=extended n=1
with languages as (select oid as lang_oid, lanname as lang from pg_catalog.pg_language),
     routines as (select proname as r_name, prolang as lang_oid, oid as r_id, xmin as r_state_number, proargnames as arg_names, proargmodes as arg_modes,
                         proargtypes::int[] as in_arg_types, proallargtypes::int[] as all_arg_types, pg_catalog.pg_get_expr(proargdefaults, 0) as arg_defaults,
                         provariadic as arg_variadic_id, prorettype as ret_type_id, proretset as ret_set, prokind as kind, provolatile as volatile_kind,
                         proisstrict as is_strict, prosecdef as is_security_definer, proconfig as configuration_parameters, procost as cost,
                         pg_catalog.pg_get_userbyid(proowner) as "owner", prorows as rows, proleakproof as is_leakproof, proparallel as concurrency_kind
                  from pg_catalog.pg_proc
                  where pronamespace = 'sales'::regnamespace::oid and not (prokind = 'a'))
select * from routines natural join languages
;;

-- @steps=schema proto=extended n=1
select R.ev_class as table_id, R.oid as rule_id, R.xmin as rule_state_number, R.rulename as rule_name,
       pg_catalog.translate(ev_type, '1234', 'SUID') as rule_event_code, R.ev_enabled as rule_fire_mode, R.is_instead as rule_is_instead
from pg_catalog.pg_rewrite R
where R.ev_class in (select oid from pg_catalog.pg_class where relnamespace = 'sales'::regnamespace::oid) and R.rulename != '_RETURN'::name
order by R.ev_class::bigint, ev_type
;;

-- @steps=schema proto=extended n=1
select T.tgrelid as table_id, T.oid as trigger_id, T.xmin as trigger_state_number, T.tgname as trigger_name, T.tgfoid as function_id,
       pg_catalog.encode(T.tgargs, 'escape') as function_args, T.tgtype as bits, T.tgdeferrable as is_deferrable, T.tgenabled as trigger_fire_mode,
       T.tgattr as columns, T.tgconstraint != 0 as is_constraint, T.tgoldtable as old_table_name, pg_catalog.pg_get_triggerdef(T.oid, true) as source_code
from pg_catalog.pg_trigger T
where T.tgrelid in (select oid from pg_catalog.pg_class where relnamespace = 'sales'::regnamespace::oid) and not T.tgisinternal
;;

-- @steps=schema proto=extended n=1
select D.objoid id, case when 'pg_catalog.pg_class'::regclass = D.classoid then case when D.objsubid = 0 then C.relkind else 'c' end
       when 'pg_catalog.pg_constraint'::regclass = D.classoid then 'K' end as kind, D.objsubid sub_id, D.description
from pg_catalog.pg_description D
  left join pg_catalog.pg_class C on D.objoid = C.oid and 'pg_catalog.pg_class'::regclass = D.classoid
where D.classoid = 'pg_catalog.pg_class'::regclass and C.relnamespace = 'sales'::regnamespace::oid
order by sub_id
;;

-- @steps=schema proto=extended n=1
select distinct D.refobjid as source_id, R.ev_class as view_id
from pg_depend D join pg_rewrite R on D.objid = R.oid
where D.classid = 'pg_rewrite'::regclass and D.refclassid = 'pg_class'::regclass and D.deptype = 'n' and R.ev_class = 'sales.v_orders'::regclass::oid limit 0
;;

-- @steps=schema proto=extended n=1
select T.relkind as view_kind, T.oid as view_id, pg_catalog.pg_get_viewdef(T.oid, true) as source_text
from pg_catalog.pg_class T
  join pg_catalog.pg_namespace N on T.relnamespace = N.oid
where N.oid = 'sales'::regnamespace::oid and T.relkind in ('m','v') and (T.xmin::varchar is not null or exists(select A.attrelid from pg_catalog.pg_attribute A where A.attrelid = T.oid))
;;

-- @steps=data proto=extended n=1
select t.* from sales.orders t limit 501
;;

-- @steps=data proto=extended n=1
select count(*) from (select t.* from sales.orders t) as z
;;

-- @steps=editor proto=extended n=1
select t.*, ctid from sales.customers t limit 1
;;
