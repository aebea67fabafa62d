-- about: The totals of every invoice beside the sums of its lines, added up anew.
-- grain: tenant_id, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   tenant_id: Tenant that is billed.
--   currency: Currency of the amounts, ISO 4217.
--   lines: Lines that were added up.
--   subtotal: Sum of the lines' amounts.
--   net: Sum of amounts and discounts.
--   tax: Sum of the lines' tax; the invoice's own where tax is rounded per document.
--   corrections: Sum of the lines that correct earlier months, and of their taxes.
--   difference: Sum of the sizes of all differences to the invoice's totals; 0 where everything adds up.
WITH summed AS (
    SELECT period, tenant_id, count(*) AS lines, sum(amount) AS subtotal, sum(amount + line_discount + invoice_discount) AS net,
           sum(printed.net) AS nets, sum(tax_amount) AS tax, count(*) FILTER (WHERE tax IS NOT NULL AND tax_amount IS NULL) AS untaxed
    FROM metering.invoice_lines AS printed
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period, tenant_id
),
corrected AS (
    -- Nets from the lines, tax from the rates: each is added up by another way than the invoice's own.
    SELECT period, tenant_id, sum(amount) AS amount FROM (
        SELECT period, tenant_id, amount + line_discount + invoice_discount AS amount FROM metering.correction_lines
        WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
        UNION ALL
        SELECT period, tenant_id, unnest(from_json(correction -> '$.taxes', '[{"amount": "DECIMAL(38, 9)"}]')).amount FROM metering.corrected
        WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND correction <> ''
    )
    GROUP BY period, tenant_id
),
compared AS (
    SELECT invoices.period, invoices.tenant_id, invoices.currency, coalesce(summed.lines, 0) AS lines, invoices.lines AS printed,
           coalesce(summed.subtotal, 0) AS subtotal, coalesce(summed.net, 0) AS net, coalesce(summed.nets, 0) AS nets,
           CASE WHEN summed.untaxed > 0 THEN invoices.tax ELSE coalesce(summed.tax, 0) END AS tax,
           invoices.subtotal AS said_subtotal, invoices.discount, invoices.net AS said_net, coalesce(invoices.tax, 0) AS said_tax,
           invoices.total, invoices.credits_used, invoices.payable,
           invoices.corrections AS said_corrections, coalesce(corrected.amount, 0) AS corrections
    FROM metering.invoices AS invoices
    LEFT JOIN summed ON summed.period = invoices.period AND summed.tenant_id = invoices.tenant_id
    LEFT JOIN corrected ON corrected.period = invoices.period AND corrected.tenant_id = invoices.tenant_id
    WHERE invoices.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND invoices.status = 'rated'
)
SELECT period, tenant_id, currency, CAST(lines AS BIGINT) AS lines,
       CAST(subtotal AS DECIMAL(38, 9)) AS subtotal, CAST(net AS DECIMAL(38, 9)) AS net, CAST(tax AS DECIMAL(38, 9)) AS tax,
       CAST(corrections AS DECIMAL(38, 9)) AS corrections,
       CAST(abs(lines - printed) + abs(subtotal - said_subtotal) + abs(net - said_net) + abs(nets - net) + abs(net - subtotal - discount)
            + abs(tax - said_tax) + abs(net + tax - total) + abs(corrections - said_corrections) + abs(total + corrections + credits_used - payable) AS DECIMAL(38, 9)) AS difference
FROM compared
ORDER BY period, tenant_id
