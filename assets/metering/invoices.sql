-- about: One invoice a tenant and month with its totals, or why there is none.
-- grain: tenant_id, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   tenant_id: Tenant that is billed.
--   plan: Plan held last in the month.
--   currency: Currency of the amounts, ISO 4217.
--   status: rated or blocked.
--   previewed: 1 where there is an invoice, 0 where it is blocked.
--   unpriced: Problems that keep it from being rated.
--   problems: What they are, one a line.
--   lines: Lines of the invoice.
--   subtotal: Sum of the lines' amounts.
--   discount: Sum of the discounts, negative.
--   net: Subtotal after discount.
--   tax: Tax of all rates; 0 where nothing is taxed.
--   total: Net and tax.
--   corrections: Total of what corrects earlier months, with tax; negative for a credit.
--   credits_used: Prepaid credit that was used, negative.
--   payable: Total and corrections, less credits; negative where corrections take more away than the month adds.
SELECT period, tenant_id, plan, currency,
       CASE WHEN invoice = '' THEN 'blocked' ELSE 'rated' END AS status,
       CASE WHEN invoice = '' THEN 0 ELSE 1 END AS previewed,
       CASE WHEN problems = '' THEN 0 ELSE len(string_split(problems, chr(10))) END AS unpriced,
       problems,
       CAST(json_array_length(nullif(invoice, ''), '$.lines') AS BIGINT) AS lines,
       CAST(nullif(invoice, '') ->> '$.subtotal' AS DECIMAL(38, 9)) AS subtotal,
       CAST(nullif(invoice, '') ->> '$.discount' AS DECIMAL(38, 9)) AS discount,
       CAST(nullif(invoice, '') ->> '$.net' AS DECIMAL(38, 9)) AS net,
       CAST(CASE WHEN invoice <> ''
                 THEN coalesce(list_sum(list_transform(from_json(invoice -> '$.taxes', '[{"amount": "DECIMAL(38, 9)"}]'), lambda each: each.amount)), 0)
            END AS DECIMAL(38, 9)) AS tax,
       CAST(nullif(invoice, '') ->> '$.total' AS DECIMAL(38, 9)) AS total,
       CAST(nullif(invoice, '') ->> '$.corrected' AS DECIMAL(38, 9)) AS corrections,
       CAST(nullif(invoice, '') ->> '$.credits_used' AS DECIMAL(38, 9)) AS credits_used,
       CAST(nullif(invoice, '') ->> '$.payable' AS DECIMAL(38, 9)) AS payable
FROM metering.rated
WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
ORDER BY period, tenant_id
